#!/bin/sh
# Plays the example jobs on the Nomad at NOMAD_ADDR, round after round. A round takes about 35 seconds, and has a new release of
# each service. DEMO_ROUNDS ends it after so many rounds (0, the default: never); DEMO_PAUSE is the wait between two, in seconds.
# Needs `nomad` and a POSIX shell. Jobs that fail are what it is about, so a command that fails ends nothing.
set -u

export NOMAD_CLI_SHOW_HINTS=false
rounds=${DEMO_ROUNDS:-0}
pause=${DEMO_PAUSE:-30}
jobs=$(dirname "$0")/jobs

say() {
  printf '%s  %s\n' "$(date -u +%H:%M:%S)" "$*"
}

# Registers a job and waits for its deployment, 40 seconds at most. How that ends is seen in the events.
run() {
  timeout 40 nomad job run "$@" > /dev/null
}

# The id of the only node.
node() {
  nomad node status -quiet
}

# Nomad does not show a new namespace to those who follow all of them already. The source looks for new ones once a minute; for
# the first minute's sake the compose file makes this one before the source starts.
namespace() {
  nomad namespace apply -description "Batch jobs of the demo" data > /dev/null
}

play() {
  release=$1

  # Again in each round: a development agent that was started anew knows nothing.
  namespace
  run -detach "$jobs/report.nomad.hcl"

  say "round $release: service web, batch jobs that fail and succeed, a service with a new image"
  run -detach -var "run=$release" "$jobs/import.nomad.hcl"
  nomad job dispatch -namespace data -detach report > /dev/null
  run -detach -var "release=1.$release" "$jobs/shop.nomad.hcl"
  run -var "release=1.$release" "$jobs/web.nomad.hcl"

  say "round $release: a job that fits on no node"
  run -detach "$jobs/reindex.nomad.hcl"

  say "round $release: a release of web that does not work, and is taken back"
  run -var "release=1.$release-broken" -var works=false "$jobs/web.nomad.hcl"

  say "round $release: the node is drained, and comes back"
  nomad node drain -enable -yes -detach -deadline 5s -m "maintenance of the demo" "$(node)" > /dev/null
  sleep 12
  nomad node drain -disable -yes -keep-ineligible "$(node)" > /dev/null
  sleep 5
  nomad node eligibility -enable "$(node)" > /dev/null

  say "round $release: the job that fits nowhere is stopped, and what has ended is collected"
  nomad job stop -namespace data -purge -detach reindex > /dev/null
  nomad system gc
}

if [ "${1:-}" = namespace ]; then
  namespace
  exit
fi

# So that the image changes in the first round, too.
run -detach "$jobs/shop.nomad.hcl"

round=0
while [ "$rounds" -eq 0 ] || [ "$round" -lt "$rounds" ]; do
  [ "$round" -eq 0 ] || sleep "$pause"
  round=$((round + 1))
  play "$round"
done
