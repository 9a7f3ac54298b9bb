# A batch job that fails: one task with an exit code, after two restarts, and one by a signal.

variable "run" {
  type    = string
  default = "1"
}

job "import" {
  namespace = "data"
  type      = "batch"

  meta {
    # Something new makes it run again.
    run = var.run
  }

  group "load" {
    restart {
      attempts = 2
      interval = "1m"
      delay    = "1s"
      mode     = "fail"
    }

    reschedule {
      attempts  = 0
      unlimited = false
    }

    task "load" {
      driver = "raw_exec"

      config {
        command = "/bin/sh"
        args    = ["-c", "sleep 1; exit 3"]
      }

      resources {
        cpu    = 50
        memory = 32
      }
    }
  }

  group "index" {
    restart {
      attempts = 0
      mode     = "fail"
    }

    reschedule {
      attempts  = 0
      unlimited = false
    }

    task "index" {
      driver = "raw_exec"

      config {
        command = "/bin/sh"
        args    = ["-c", "sleep 2; kill -9 $$"]
      }

      resources {
        cpu    = 50
        memory = 32
      }
    }
  }
}
