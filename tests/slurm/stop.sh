#!/bin/bash
# Stop the daemons of start.sh, each by its own pid file, and remove its configuration: where one names a controller that does
# not run, Snakemake's SLURM plugin waits nine seconds for it at every start. Run as root.
for file in /run/slurmd.pid /run/slurmctld.pid /run/munge/munged.pid; do
  [ -s "$file" ] || continue
  pid=$(cat "$file")
  kill "$pid" 2>/dev/null || continue
  for _ in $(seq 50); do
    kill -0 "$pid" 2>/dev/null || break
    sleep 0.1
  done
done
grep -qs '^ClusterName=calopipe' /etc/slurm/slurm.conf && rm -f /etc/slurm/slurm.conf /etc/slurm/gres.conf
exit 0
