#!/usr/bin/env bash
# tests/release/shape.sh — the executable needs no other file, says its version, names no build path.
set -euo pipefail

readelf=$1
fail() { echo "$MIRRORD: $*"; exit 1; }

! "$readelf" --program-headers --wide "$MIRRORD" | grep -E 'INTERP|DYNAMIC' || fail "is not static"
if [ "${2:-}" = stripped ]; then
  ! "$readelf" --sections --wide "$MIRRORD" | grep -F .symtab || fail "is not stripped"
  ! grep --text --only-matching --fixed-strings "$MIRRORD_SOURCE_DIR/" "$MIRRORD" || fail "names the source folder"
fi
machine=$("$readelf" --file-header "$MIRRORD" | sed -n 's/.*Machine: *//p')
case $machine in
  *X86-64) [ "$(uname -m)" = x86_64 ] || exit 0 ;;
  *) [ "$(uname -m)" = aarch64 ] || exit 0 ;;
esac
[[ $("$MIRRORD" --version) =~ ^mirrord\ [0-9]+\.[0-9]+\.[0-9]+$ ]] || fail "prints another version line"
echo "$(stat --format %s "$MIRRORD") bytes, static, ${machine}"
