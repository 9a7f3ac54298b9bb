#!/bin/sh
# Starts the agent of the demo in its container. What is given goes to `nomad agent`.
set -eu

# With cgroups 2, a cgroup whose controllers are handed on to its children may not hold a process, and Nomad makes one child for
# each task. So the agent moves out of the container's own one. Nothing outside of the container is touched.
if [ -w /sys/fs/cgroup/cgroup.procs ]; then
  mkdir -p /sys/fs/cgroup/agent
  echo $$ > /sys/fs/cgroup/agent/cgroup.procs
fi

exec nomad agent "$@"
