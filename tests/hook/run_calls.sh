#!/usr/bin/env bash
# tests/hook/run_calls.sh — run_calls.sh PEER HOOK PROGRAM CASE CONTEXT [WINDOW]: makes a remote and
# a local folder with the same files and runs the calls on one of them. MIRRORD_EMULATOR: what runs
# programs of another kind of machine.
set -euo pipefail
peer=$1 hook=$2 program=$3 case=$4 context=$5 window=${6:-0}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

fill() {  # fill FOLDER WORD
  mkdir -p "$1/dir" "$1/many"
  printf '%s' "$2" > "$1/where"
  printf 'line one\nline two\n' > "$1/text"
  touch -d '@1700000000.123456789' "$1/text"
  awk 'BEGIN { for (i = 0; i < 300000; ++i) printf "%c", 97 + i % 23 }' > "$1/big"
  touch "$1"/dir/{a,b,c}
  (cd "$1/many" && seq -f 'entry with a rather long name %g' 1500 | tr '\n' '\0' | xargs -0 touch)
  ln -s text "$1/link"
  ln -s loop "$1/loop"
}
fill "$work/remote" remote
fill "$work/local" local

case $case in
  remote) base=/remote where=remote ;;
  mapped) base=/mapped where=remote ;;
  bypassed) base=$work/local where=local ;;
  mapped_local) base=/homemap where=local ;;
esac
status=0
CALLS_BASE=$base CALLS_WHERE=$where CALLS_CONTEXT=$context \
  ${MIRRORD_EMULATOR:-} "$peer" --window "$window" --local "$work/local" --log "$work/log" "$hook" "$work/remote" -- \
  "$program" || status=$?

# Nothing may be left that the other side should have got, and a bypassed call asks for nothing.
# Reference: types from 100 on are file requests, but for 211 (mapping).
asked=$(awk '$1 >= 100 && $1 != 211' "$work/log" | wc -l)
if [ "$where" = local ] && [ "$asked" -ne 0 ]; then
  echo "a bypassed call asked the peer: $(sort -n "$work/log" | uniq -c | tr '\n' ';')"
  status=1
fi
if [ "$where" = remote ] && [ "$asked" -lt 100 ]; then
  echo "only $asked requests reached the peer"
  status=1
fi
exit $status
