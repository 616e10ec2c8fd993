#!/usr/bin/env bash
# Makes .venv with everything pinned by constraints.txt. Run by `make setup`; safe to run again, and after an interruption.
set -euo pipefail
cd "$(dirname "$0")/.."

say() { printf 'setup: %s\n' "$*"; }
fail() { printf 'setup: %s\n' "$*" >&2; exit 1; }

# Runs a command as root where that needs no password; fails otherwise.
as_root() {
  if [ "$(id -u)" = 0 ]; then "$@"; elif command -v sudo > /dev/null && sudo -n true 2> /dev/null; then sudo -n "$@"; else return 1; fi
}

find_python() {
  local name
  for name in ${PYTHON:-} python3.11 python3.12 python3; do
    if "$name" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 13))' 2> /dev/null; then
      "$name" -c 'import sys; print(sys.executable)'
      return
    fi
  done
  fail "Python 3.11 or 3.12 is needed and none was found. On Debian: apt-get install python3.11 python3.11-venv; or name one: make setup PYTHON=/path/to/python3.11"
}

ensure_venv_module() {
  "$1" -c 'import venv; from ensurepip import bootstrap' 2> /dev/null && return
  local version package
  version=$("$1" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
  package="python$version-venv"
  say "$1 has no venv module; installing $package"
  if command -v apt-get > /dev/null && as_root apt-get update -q > /dev/null && as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -q "$package" > /dev/null; then return; fi
  fail "$1 cannot make virtual environments, and $package could not be installed from here. Run: sudo apt-get install $package"
}

make_venv() {
  # An environment that was moved, copied, or made by a Python that is gone has links and paths that lead nowhere.
  if [ -e .venv ] && ! { grep -qF "$(pwd -P)/.venv/bin" .venv/bin/pip && .venv/bin/python -c 'import pip'; } 2> /dev/null; then
    say ".venv does not work here; making it again"
    rm -rf .venv
  fi
  if [ ! -e .venv ]; then
    local python
    python=$(find_python)
    ensure_venv_module "$python"
    say "making .venv with $python"
    "$python" -m venv .venv
  fi
}

install_packages() {
  # The pins hold inside the isolated build as well; older and newer pip read different variables. Relative: a path may hold spaces.
  export PIP_CONSTRAINT=constraints.txt PIP_BUILD_CONSTRAINT=constraints.txt PIP_DISABLE_PIP_VERSION_CHECK=1
  local torch
  torch=$(grep -x 'torch==[0-9.]*' constraints.txt)
  say "installing $torch, then the rest (about 2 GB on disk, a few minutes on a slow line)"
  .venv/bin/python -m pip install -q -c constraints.txt "$torch"
  .venv/bin/python -m pip install -q -c constraints.txt -e '.[sim,text,wan,lora,report,train,serve,dev]'
  # The genuine client of another project, for the tests alone. It asks for a NumPy below 2 and works with this one.
  .venv/bin/python -m pip install -q -c constraints.txt --no-deps openpi-client
}

make_venv
install_packages || fail "the packages could not be installed (see above). The same command goes on from here."
bash scripts/system_libraries.sh
say "ready. Try: make demo"
