# A batch job that wants more memory than any node has: its evaluation is blocked until the job is stopped.

job "reindex" {
  namespace = "data"
  type      = "batch"

  group "reindex" {
    task "reindex" {
      driver = "raw_exec"

      config {
        command = "/bin/true"
      }

      resources {
        cpu    = 50
        memory = 9999999
      }
    }
  }
}
