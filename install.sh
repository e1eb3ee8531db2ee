#!/usr/bin/env bash
# Set up calopipe in a virtual environment of its own. Does nothing when everything is in place.
#
#   bash install.sh [test] [bench]      what the workflow needs, and on request what tests or benchmarks need
#
# Switches (environment variables):
#   TORCH=cpu|cuda     which requirements/<TORCH>.txt (default: cpu)
#   TORCH_INDEX=URL    extra package index with PyTorch builds (its CPU wheels, or those of another CUDA version)
#   PYTHON=python3.12  which Python >= 3.11 (default: the first one found); an environment of another version is not touched
#   VENV=.venv         where the environment goes
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
TORCH=${TORCH:-cpu}
VENV=${VENV:-.venv}
say() { echo "[install] $*" >&2; }
fail() { say "ERROR: $*"; exit 1; }
[ -f "requirements/$TORCH.txt" ] || fail "TORCH=$TORCH: expected cpu or cuda"

apt_install() { # as root on Debian or Ubuntu: install it; otherwise say what is missing
  if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    say "installing Debian packages: $*"
    apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@" >/dev/null
  else
    fail "missing: $*. On Debian or Ubuntu: sudo apt-get install $*"
  fi
}

version_of() { "$1" -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null; }

find_python() { # the one that was asked for, and no other; without a wish the first one that is new enough
  local candidate
  for candidate in ${PYTHON:-python3 python3.13 python3.12 python3.11}; do
    if "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
      echo "$candidate"
      return
    fi
  done
  return 1
}

check_wish() { # PYTHON must run, be new enough, and be the version of an environment that is there already
  [ -n "${PYTHON:-}" ] || return 0
  find_python >/dev/null || fail "PYTHON=$PYTHON: expected Python >= 3.11, found $(version_of "$PYTHON" || echo 'none that runs')"
  [ ! -x "$VENV/bin/python" ] || [ "$(version_of "$VENV/bin/python")" = "$(version_of "$PYTHON")" ] || fail \
    "$VENV has Python $(version_of "$VENV/bin/python"), but PYTHON=$PYTHON is $(version_of "$PYTHON"): delete it, or name another VENV"
}

make_environment() {
  local python version
  python=$(find_python) || { apt_install python3.11 python3.11-venv; python=$(find_python); } || fail "no Python >= 3.11"
  version=$(version_of "$python")
  "$python" -c 'import venv, ensurepip' 2>/dev/null || apt_install "python$version-venv"
  say "creating $VENV with $("$python" --version)"
  "$python" -m venv --clear "$VENV"
}

# The CPU build is much smaller. pip takes it by itself where an index offers it; say so where none does.
check_torch_build() {
  [ "$TORCH" = cpu ] && [ "$(uname -s)-$(uname -m)" = Linux-x86_64 ] || return 0
  local pin
  pin=$(grep -E '^torch==' requirements/cpu.txt)
  "$VENV/bin/pip" install --quiet --dry-run --no-deps "${index[@]}" "$pin+cpu" >/dev/null 2>&1 || say \
    "NOTE: no index offers $pin+cpu: the default build is installed, some GB larger. To avoid that, interrupt and give" \
    "TORCH_INDEX=<URL of PyTorch's CPU wheels; see 'Get started' on PyTorch's site, compute platform CPU>."
}

install_packages() { # install_packages STAMP FILE...: skipped when these files were installed before
  local stamp=$VENV/.installed-$1 sum
  shift
  sum=$(cat pyproject.toml requirements/*.txt <(printf '%s\n' "$@" "$PWD") | sha256sum)
  if [ -f "$stamp" ] && [ "$(cat "$stamp")" = "$sum" ]; then return; fi
  say "installing $* (a few minutes the first time)"
  # compiled afterwards, on all processors: pip takes one
  "$VENV/bin/pip" install --disable-pip-version-check -qq --no-compile "${index[@]}" $(printf -- '-r %s ' "$@")
  "$VENV/bin/python" -W ignore -m compileall -qq -j 0 "$VENV"/lib/python*/site-packages || true # some packages have templates
  "$VENV/bin/pip" install --disable-pip-version-check -qq --no-deps --no-build-isolation --editable .
  echo "$sum" >"$stamp"
}

index=()
[ -z "${TORCH_INDEX:-}" ] || index=(--extra-index-url "$TORCH_INDEX")
check_wish
[ -x "$VENV/bin/python" ] && "$VENV/bin/python" -c 'import pip' 2>/dev/null || make_environment
[ -f "$VENV/.installed-$TORCH" ] || check_torch_build
install_packages "$TORCH" "requirements/$TORCH.txt"
for extra in "$@"; do
  [ -f "requirements/$extra.txt" ] || fail "unknown extra '$extra': expected test or bench"
  install_packages "$TORCH-$extra" "requirements/$TORCH.txt" "requirements/$extra.txt"
done
