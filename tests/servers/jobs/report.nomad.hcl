# A batch job that completes, with real processes.
job "report" {
  type = "batch"
  group "writers" {
    count = 2
    task "write" {
      driver = "raw_exec"
      config {
        command = "/bin/sh"
        args    = ["-c", "exit 0"]
      }
      resources {
        cpu    = 20
        memory = 16
      }
    }
  }
}
