# A batch job that succeeds. It runs when it is dispatched, each time as a job of its own, whose parent this is.

job "report" {
  namespace = "data"
  type      = "batch"

  parameterized {}

  group "report" {
    task "write" {
      driver = "raw_exec"

      config {
        command = "/bin/sh"
        args    = ["-c", "sleep 3; echo done"]
      }

      resources {
        cpu    = 50
        memory = 32
      }
    }
  }
}
