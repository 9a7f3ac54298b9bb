# A service with deployments and native service registrations.
job "web" {
  type = "service"
  meta {
    version = "1"
  }
  update {
    max_parallel      = 2
    min_healthy_time  = "100ms"
    healthy_deadline  = "30s"
    progress_deadline = "60s"
    health_check      = "task_states"
  }
  group "frontend" {
    count = 2
    migrate {
      max_parallel     = 2
      min_healthy_time = "100ms"
      health_check     = "task_states"
    }
    network {
      port "http" {}
    }
    service {
      name     = "web"
      provider = "nomad"
      port     = "http"
      tags     = ["public"]
    }
    task "server" {
      driver = "mock_driver"
      config {
        run_for = "1h"
      }
      resources {
        cpu    = 20
        memory = 16
      }
    }
  }
}
