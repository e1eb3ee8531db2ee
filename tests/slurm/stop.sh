#!/bin/bash
# Stop the daemons of start.sh, each by its own pid file. Run as root.
for file in /run/slurmd.pid /run/slurmctld.pid /run/munge/munged.pid; do
  [ -s "$file" ] || continue
  pid=$(cat "$file")
  kill "$pid" 2>/dev/null || continue
  for _ in $(seq 50); do
    kill -0 "$pid" 2>/dev/null || break
    sleep 0.1
  done
done
