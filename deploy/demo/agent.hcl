# The Nomad agent of the demo: server and client in one process (`-dev`), without ACLs and without a state that outlives it.

server {
  # The default of 100 changes is little for a collector that is built while Nomad is up already.
  event_buffer_size = 1000
}

client {
  options = {
    # Tasks are processes of the agent's container. Clouds, Consul and Vault are not there, and looking for them takes seconds.
    "driver.allowlist"     = "raw_exec"
    "fingerprint.denylist" = "env_aws,env_gce,env_azure,env_digitalocean,consul,vault,cni"
  }
}

plugin "raw_exec" {
  config {
    enabled = true
  }
}

disable_update_check = true
