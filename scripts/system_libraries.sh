#!/usr/bin/env bash
# Makes sure that MuJoCo can render without a screen: installs EGL or OSMesa where it can, otherwise says what to install.
# Never fails: everything but rendering works without them.
set -uo pipefail

packages="libegl1 libgl1 libosmesa6"

can_render() {
  "$(dirname "$0")/../.venv/bin/python" - 2> /dev/null << 'PYTHON'
import ctypes, sys

def loads(name):
    try:
        ctypes.CDLL(name)
    except OSError:
        return False
    return True

apple_or_windows = not sys.platform.startswith("linux")
sys.exit(not (apple_or_windows or loads("libEGL.so.1") or loads("libOSMesa.so") or loads("libOSMesa.so.8")))
PYTHON
}

install() {
  command -v apt-get > /dev/null || return 1
  local root=()
  if [ "$(id -u)" != 0 ]; then
    command -v sudo > /dev/null && sudo -n true 2> /dev/null || return 1
    root=(sudo -n)
  fi
  # shellcheck disable=SC2086
  "${root[@]}" apt-get update -q > /dev/null && "${root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends $packages > /dev/null
}

can_render && exit 0
printf 'setup: no library for off-screen rendering; installing %s\n' "$packages"
if install && can_render; then exit 0; fi
printf 'setup: rendering will not work yet: EGL and OSMesa are missing and could not be installed from here. Run: sudo apt-get install %s\n' "$packages" >&2
exit 0
