# What the token of `nomad-events` needs for the six topics that it subscribes to by default.
#
#   nomad acl policy apply -description "Reads the event stream" nomad-events config/nomad-events.policy.hcl
#   nomad acl token create -name nomad-events -type client -policy nomad-events
#
# A rule for a namespace by its name hides the rule for "*" there: if the token has another policy with such a rule, give that
# rule these capabilities too.

namespace "*" {
  # read-job: Job, Allocation, Evaluation, Deployment, Service.
  # list-jobs: only `start_at = "latest"` and `nomad-events tail --new` need it, which ask for the newest index of the jobs.
  capabilities = ["read-job", "list-jobs"]
}

# Node.
node {
  policy = "read"
}
