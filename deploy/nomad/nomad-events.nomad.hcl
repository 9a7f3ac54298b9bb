# The source as a job of the cluster that it follows. README.md beside this file has the steps and the reasons.
#
#   nomad job run -var image=registry.example.com/nomad-vector:0.1 -var loki_addr=http://loki.example.com:3100 \
#     deploy/nomad/nomad-events.nomad.hcl

variable "image" {
  type        = string
  description = "The image of the Dockerfile's target nomad-vector, where the cluster's nodes can pull it"
}

variable "loki_addr" {
  type        = string
  description = "Where Loki is, as http://host:port"
}

variable "configuration" {
  type        = string
  default     = "config/vector.toml"
  description = "A configuration for the programs in the image, relative to where this command is run"
}

locals {
  # The shipped configuration, with where Nomad is and who we are. The task's own Nomad agent answers at this socket, and the
  # token is that of the task's workload identity.
  configuration = replace(
    file(var.configuration),
    "type = \"nomad_events\"\n",
    <<-EOT
      type = "nomad_events"
      endpoints = ["unix://$${NOMAD_SECRETS_DIR}/api.sock"]
      token_file = "$${NOMAD_SECRETS_DIR}/nomad_token"
    EOT
  )
}

job "nomad-events" {
  type = "service"

  group "nomad-events" {
    # Two that follow the same cluster would send everything twice, of which Loki keeps one copy.
    count = 1

    # The saved position goes along: to the next allocation on this node, and to another node as long as this one can be reached.
    # Otherwise the new one begins with what the server still has.
    ephemeral_disk {
      sticky  = true
      migrate = true
    }

    # For ever: what the servers keep meanwhile is bounded.
    restart {
      attempts = 5
      interval = "5m"
      delay    = "10s"
      mode     = "delay"
    }

    reschedule {
      delay          = "15s"
      delay_function = "exponential"
      max_delay      = "5m"
      unlimited      = true
    }

    update {
      max_parallel     = 1
      min_healthy_time = "15s"
      healthy_deadline = "3m"
    }

    task "nomad-events" {
      driver = "docker"

      config {
        image = var.image
        args = [
          "--config", "${NOMAD_TASK_DIR}/vector.toml",
          # The source takes 4 s at most (`stop_timeout_secs`), and Vector would give its sinks 60.
          "--graceful-shutdown-limit-secs", "15",
        ]
        readonly_rootfs = true
        cap_drop        = ["all"]
      }

      # More than the 15 s above; a client's `max_kill_timeout` is 30 s unless it is raised.
      kill_timeout = "20s"

      # The default identity of the task, as a file: `token_file` is read at every connect.
      identity {
        file = true
      }

      env {
        LOKI_ADDR = var.loki_addr
        # What `ephemeral_disk` takes along.
        NOMAD_EVENTS_DATA_DIR = "${NOMAD_ALLOC_DIR}/data"
      }

      template {
        data        = local.configuration
        destination = "local/vector.toml"
        # The configuration has templates of its own, in double braces.
        left_delimiter  = "<<<"
        right_delimiter = ">>>"
      }

      resources {
        cpu = 200
        # `queue_bytes` (32 MiB of text) may become ten times as much as parsed events.
        memory = 512
      }
    }
  }
}
