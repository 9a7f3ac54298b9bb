# A system job: one real process on every node, which has to be gone when the agent is.
job "shipper" {
  type     = "system"
  priority = 80
  # Healthy at once: by default the agent looks on for 10 s, and reports it then.
  update {
    min_healthy_time = "100ms"
    health_check     = "task_states"
  }
  group "g" {
    task "sleep" {
      driver = "raw_exec"
      config {
        command = "/bin/sleep"
        args    = ["3600"]
      }
      kill_timeout = "1s"
      resources {
        cpu    = 20
        memory = 16
      }
    }
  }
}
