#!/bin/sh
# tessdata.sh
# Sees to it that the language data for reading images is here: Debian's package tesseract-ocr-eng. Without it everything works
# but that, and its test says that it was skipped.
set -eu
case "${1:-}" in -h | --help) sed -n '2,4s/^# //p' "$0"; exit 0 ;; esac

for folder in "${TESSDATA:-}" /usr/share/tesseract-ocr/5/tessdata /usr/share/tesseract-ocr/4.00/tessdata /usr/share/tessdata; do
    if [ -n "$folder" ] && [ -f "$folder/eng.traineddata" ]; then exit 0; fi
done
if ! command -v apt-get >/dev/null; then
    echo "tessdata.sh: no eng.traineddata here; set TESSDATA to the folder that has it" >&2
    exit 0
fi
root() { if [ "$(id -u)" = 0 ]; then "$@"; else sudo "$@"; fi; }
export DEBIAN_FRONTEND=noninteractive
{ root apt-get update -q && root apt-get install -qy --no-install-recommends tesseract-ocr-eng; } >&2 ||
    echo "tessdata.sh: installing tesseract-ocr-eng failed; the page will not read images" >&2
