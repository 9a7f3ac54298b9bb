# A periodic parent that does not fire by itself while a test runs.
job "nightly" {
  type = "batch"
  periodic {
    crons            = ["0 0 1 1 *"]
    prohibit_overlap = true
  }
  group "g" {
    task "t" {
      driver = "mock_driver"
      config {
        run_for = "200ms"
      }
      resources {
        cpu    = 20
        memory = 16
      }
    }
  }
}
