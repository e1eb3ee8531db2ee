#!/bin/bash
# Install SLURM and munge on Debian or Ubuntu. Run as root.
set -euo pipefail
if command -v slurmctld >/dev/null && command -v slurmd >/dev/null && command -v munged >/dev/null; then exit 0; fi
command -v apt-get >/dev/null || { echo "no apt-get here: cannot install SLURM" >&2; exit 1; }
apt-get update -qq
DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends slurm-wlm munge
