# A development agent for the tests: server and client in one process. Ports come from a file of their own, made at start.
acl {
  enabled = true
  # A minute by default, which no test wants to wait.
  token_min_expiration_ttl = "1s"
}
server {
  # Far above the default of 100 lines, so that a reader that subscribes late still gets the whole history.
  event_buffer_size = 20000
}
client {
  options = {
    # Fingerprinting a cloud asks addresses that are not there, and takes seconds.
    "fingerprint.denylist" = "env_aws,env_gce,env_azure,env_digitalocean,consul,vault,cni"
    "driver.allowlist"     = "raw_exec,mock_driver"
  }
}
plugin "raw_exec" {
  config {
    enabled = true
  }
}
disable_update_check = true
