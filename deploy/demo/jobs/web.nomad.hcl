# A service. Each release is a deployment; one that does not work fails, and Nomad goes back to the last one that did.

variable "release" {
  type    = string
  default = "1.0"
}

variable "works" {
  type    = bool
  default = true
}

job "web" {
  type = "service"

  update {
    max_parallel      = 2
    min_healthy_time  = "2s"
    healthy_deadline  = "15s"
    progress_deadline = "20s"
    auto_revert       = true
  }

  group "frontend" {
    count = 2

    network {
      port "http" {}
    }

    service {
      name     = "web"
      port     = "http"
      provider = "nomad"
    }

    restart {
      attempts = 1
      interval = "1m"
      delay    = "1s"
      mode     = "fail"
    }

    reschedule {
      attempts  = 0
      unlimited = false
    }

    task "server" {
      driver = "raw_exec"

      config {
        command = "/bin/sh"
        args    = ["-c", var.works ? "exec sleep 1000000" : "sleep 1; exit 7"]
      }

      env {
        RELEASE = var.release
      }

      resources {
        cpu    = 50
        memory = 32
      }
    }
  }
}
