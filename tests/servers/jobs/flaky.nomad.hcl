# A task that fails, is started again once, and fails for good.
job "flaky" {
  type = "batch"
  group "g" {
    restart {
      attempts = 1
      interval = "10m"
      delay    = "1s"
      mode     = "fail"
    }
    reschedule {
      attempts  = 0
      unlimited = false
    }
    task "boom" {
      driver = "mock_driver"
      config {
        run_for   = "100ms"
        exit_code = 1
      }
      resources {
        cpu    = 20
        memory = 16
      }
    }
  }
}
