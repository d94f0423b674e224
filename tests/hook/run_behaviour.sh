#!/usr/bin/env bash
# tests/hook/run_behaviour.sh — run_behaviour.sh PEER HOOK LOAD NAME: how the hook behaves as a
# whole; each function below is one test. LOAD is the program of load.c.
set -euo pipefail
peer=$1 hook=$2 load=$3 name=$4
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir -p "$work/remote/dir"
echo remote > "$work/remote/where"

fail() {
  echo "FAILED: $*"
  exit 1
}
with() {  # with "PEER OPTIONS" PROGRAM ARGUMENTS…
  local options=$1
  shift
  # shellcheck disable=SC2086
  ${MIRRORD_EMULATOR:-} "$peer" $options "$hook" "$work/remote" -- "$@"
}

skipped_program_is_left_alone() {
  with "--skip cat" cat /remote/where 2> /dev/null && fail "cat was not skipped"
  ln -s "$(command -v cat)" "$work/other"
  with "--skip other" "$work/other" /remote/where 2> /dev/null && fail "argv[0] was not looked at"
  [ "$(with "--skip dog" cat /remote/where)" = remote ] || fail "cat was skipped"
  # Children of a skipped program are not skipped.
  [ "$(with "--skip bash" bash -c 'cat /remote/where')" = remote ] || fail "the child was skipped"
}

dont_load_ends_the_process() {
  local status=0
  MIRRORD_DONT_LOAD=1 with "" true 2> "$work/err" || status=$?
  [ $status -eq 255 ] || fail "status $status"
  grep -q MIRRORD_DONT_LOAD "$work/err" || fail "no message"
}

other_version_is_refused() {
  local status=0
  with "--version 99" true 2> "$work/err" || status=$?
  [ $status -eq 255 ] || fail "status $status"
  grep -q "another version" "$work/err" || fail "no message: $(cat "$work/err")"
}

ended_session_is_refused() {
  local status=0
  MIRRORD_SESSION=$work/gone LD_PRELOAD=$hook "$(type -P true)" 2> "$work/err" || status=$?
  [ $status -eq 255 ] || fail "status $status"
  grep -q "session has ended" "$work/err" || fail "no message: $(cat "$work/err")"
}

no_session_means_no_hook() {
  LD_PRELOAD=$hook "$load" count 10 "$work/remote/where" || fail "failed without a session"
}

dead_proxy_gives_errors_not_hangs() {
  with "--dead" bash -c 'echo still here; read x < /remote/where' > "$work/out" 2> "$work/err" &&
    fail "a remote file was opened"
  grep -q "still here" "$work/out" || fail "the program did not run"
  grep -q "Input/output error" "$work/err" || fail "no EIO: $(cat "$work/err")"
  [ "$(grep -c "session has ended" "$work/err")" -eq 1 ] || fail "not one message: $(cat "$work/err")"
}

lost_proxy_gives_errors_not_hangs() {
  with "--die-after 5" "$load" lost /remote/where "$work/remote/where" 2> "$work/err" ||
    fail "$(cat "$work/err")"
  [ "$(grep -c "session has ended" "$work/err")" -eq 1 ] || fail "not one message: $(cat "$work/err")"
}

silent_proxy_gives_errors_not_hangs() {
  local began=$SECONDS
  MIRRORD_ANSWER_LIMIT_MS=300 with "--silent-after 5" "$load" lost /remote/where "$work/remote/where" \
    2> "$work/err" || fail "$(cat "$work/err")"
  [ "$(grep -c "does not answer" "$work/err")" -eq 1 ] || fail "not one message: $(cat "$work/err")"
  [ $((SECONDS - began)) -lt 20 ] || fail "it took $((SECONDS - began)) seconds"
}

# A proxy that works, but for longer than the limit, is waited for.
slow_proxy_is_waited_for() {
  [ "$(MIRRORD_ANSWER_LIMIT_MS=200 with "--delay 900" cat /remote/where)" = remote ] || fail "given up"
}

closed_standard_descriptors() {
  with "" bash -c 'exec <&- ; cat /remote/where' > "$work/out" || fail "closed standard input"
  [ "$(cat "$work/out")" = remote ] || fail "read $(cat "$work/out")"
  with "" bash -c 'exec >&- 2>&- ; read x < /remote/where; [ "$x" = remote ]' || fail "closed output"
}

# Calls on local files make exactly the system calls that they make without the hook.
bypassed_calls_add_no_system_call() {
  command -v strace > /dev/null || { echo "SKIP: strace is not installed"; exit 77; }
  strace -o "$work/probe" true 2> /dev/null || { echo "SKIP: strace may not trace"; exit 77; }
  count() { # count REPEATS PREFIX…
    local repeats=$1
    shift
    "$@" strace -o "$work/trace" "$load" count "$repeats" "$work/remote/where" > /dev/null
    wc -l < "$work/trace"
  }
  local bare hooked
  bare=$(($(count 110) - $(count 10)))
  hooked=$(($(count 110 with "") - $(count 10 with "")))
  [ "$bare" -eq "$hooked" ] || fail "$bare system calls became $hooked"
  [ "$bare" -ge 1000 ] || fail "only $bare calls were counted"
}

many_threads() {
  with "" "$load" threads 64 /remote/where || fail "64 threads"
}

many_readers_of_one_window() {
  awk 'BEGIN { for (i = 0; i < 1000000; ++i) printf "%c", 97 + i % 23 }' > "$work/remote/pattern"
  with "--window 30000" "$load" readers 8 /remote/pattern || fail "wrong bytes"
}

many_open_files() {
  ulimit -n 8192 || { echo "SKIP: no more than $(ulimit -n) files may be open"; exit 77; }
  with "" "$load" many 2000 /remote/where || fail "2000 open files"
}

no_descriptors_left() {
  with "" bash -c 'ulimit -n 64; exec "$0" "$@"' "$load" exhaust 64 /remote/where || fail "exhausted"
}

# Programs without the hook find nothing in a remote working directory, and may leave it.
unhooked_program_in_a_remote_directory() {
  with "--skip perl" bash -c 'cd /remote/dir && perl -e "exit(-e q(.) && opendir(D, q(.)) && grep { !/^\.+$/ } readdir D)"' ||
    fail "something was found"
  with "--skip perl" bash -c 'cd /remote/dir && perl -e "open F, q(>made) and exit 1; exit 0"' ||
    fail "a file was made"
  [ "$(with "--skip perl" bash -c "cd /remote/dir && perl -e 'chdir q($work); exec q(/bin/pwd)'")" = "$work" ] ||
    fail "the old folder came back"
  [ "$(with "--skip perl" bash -c 'cd /remote/dir && perl -e "exec q(/bin/pwd)"')" = /remote/dir ] ||
    fail "the remote folder was lost"
}

strange_names() {
  with "" "$load" names /remote || fail "strange names"
}

"$name"
