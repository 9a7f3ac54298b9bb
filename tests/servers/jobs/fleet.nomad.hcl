# Many short tasks at once: long lines, and many of them.
job "fleet" {
  type = "batch"
  group "g" {
    count = 30
    ephemeral_disk {
      size = 20
    }
    task "t" {
      driver = "mock_driver"
      config {
        run_for = "50ms"
      }
      logs {
        max_files     = 1
        max_file_size = 1
      }
      resources {
        cpu    = 10
        memory = 10
      }
    }
  }
}
