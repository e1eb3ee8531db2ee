#!/bin/bash
# Start a one-node SLURM (munged, slurmctld, slurmd) without systemd. Run as root.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
host=$(hostname -s)
getent hosts "$host" >/dev/null || echo "127.0.0.1 $host" >>/etc/hosts
mkdir -p /etc/slurm
for file in slurm.conf gres.conf; do
  sed "s/@HOST@/$host/g" "$here/$file" >"/etc/slurm/$file"
done
install -d -o slurm -g slurm /var/lib/slurm /var/lib/slurm/slurmctld /var/log/slurm
install -d -o root -g root /var/lib/slurm/slurmd
[ -s /etc/munge/munge.key ] || mungekey -c -f
chown munge:munge /etc/munge/munge.key
chmod 400 /etc/munge/munge.key
install -d -o munge -g munge -m 755 /run/munge
install -d -o munge -g munge -m 700 /var/log/munge /var/lib/munge

alive() { [ -s "$1" ] && kill -0 "$(cat "$1")" 2>/dev/null; }
alive /run/munge/munged.pid || runuser -u munge -- "$(command -v munged)"
alive /run/slurmctld.pid || slurmctld
alive /run/slurmd.pid || slurmd
for _ in $(seq 60); do
  if [ "$(sinfo -h -p cpu -o %T 2>/dev/null)" = idle ]; then
    sinfo
    exit 0
  fi
  sleep 0.5
done
echo "SLURM did not come up" >&2
sinfo >&2 || true
tail -n 20 /var/log/slurm/slurmctld.log /var/log/slurm/slurmd.log >&2
exit 1
