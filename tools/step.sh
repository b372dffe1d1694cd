#!/bin/sh
# step.sh WHAT COMMAND…
# Says WHAT is about to happen, runs COMMAND, and says how many seconds it took.
set -u
case "${1:-}" in '' | -h | --help) sed -n '2,3s/^# //p' "$0"; exit 0 ;; esac
what=$1
shift
began=$(date +%s)
echo "==> $what"
"$@"
code=$?
took=$(($(date +%s) - began))
if [ $code = 0 ]; then echo "    done in $took s"; else echo "    FAILED after $took s: $what (exit code $code)"; fi
exit $code
