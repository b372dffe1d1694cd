#!/bin/sh
# chromium.sh
# Prints where Chromium is: $CHROMIUM when it is set, else the first found on this machine; where there is none,
# installs Debian's package.
set -eu
case "${1:-}" in -h | --help) sed -n '2,4s/^# //p' "$0"; exit 0 ;; esac

find_chromium() {
    for name in ${CHROMIUM:-chromium chromium-browser google-chrome google-chrome-stable}; do
        if command -v "$name"; then return 0; fi
    done
    return 1
}

find_chromium && exit 0
echo "chromium.sh: no Chromium here; installing the package chromium" >&2
if ! command -v apt-get >/dev/null; then
    echo "chromium.sh: there is no apt-get. Install Chromium or Chrome, and set CHROMIUM to its path." >&2
    exit 1
fi
root() { if [ "$(id -u)" = 0 ]; then "$@"; else sudo "$@"; fi; }
export DEBIAN_FRONTEND=noninteractive
{ root apt-get update -q && root apt-get install -qy --no-install-recommends chromium; } >&2 || true
find_chromium && exit 0
echo "chromium.sh: the browser tests need Chromium, and installing it failed (see above)." >&2
echo "chromium.sh: install it by hand and set CHROMIUM to its path; 'make test SUITES=\"native wasm js\"' goes without." >&2
exit 1
