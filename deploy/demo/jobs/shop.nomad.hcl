# A service with a container image, which changes with each release. The demo's agent has no Docker: Nomad takes the job, tells
# the image in its events, and places nothing, so its evaluation stays blocked for want of a driver.

variable "release" {
  type    = string
  default = "1.0"
}

job "shop" {
  type = "service"

  update {
    # No deployments, which could never end.
    max_parallel = 0
  }

  group "shop" {
    task "app" {
      driver = "docker"

      config {
        image = "registry.example.com/shop/app:${var.release}"
      }

      resources {
        cpu    = 50
        memory = 32
      }
    }

    task "metrics" {
      driver = "docker"

      lifecycle {
        hook    = "prestart"
        sidecar = true
      }

      config {
        image = "registry.example.com/metrics:3"
      }

      resources {
        cpu    = 20
        memory = 16
      }
    }
  }
}
