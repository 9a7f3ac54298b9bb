# A batch job in a namespace of its own.
job "cleanup" {
  type      = "batch"
  namespace = "team-a"
  group "g" {
    task "t" {
      driver = "mock_driver"
      config {
        run_for = "300ms"
      }
      resources {
        cpu    = 20
        memory = 16
      }
    }
  }
}
