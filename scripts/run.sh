#!/usr/bin/env bash
# `make run`: the main job on this machine. Starts the supervisor, makes a sample repository with a pull request, sends two
# Tasks for it, and keeps serving until Ctrl-C. ONCE=1 ends after the second Task.
set -euo pipefail
cd "$(dirname "$0")/.."

bin=${BUILD:-$PWD/.build/debug}
data=$PWD/build/run/data
repository=$PWD/build/run/greeter.git
bold=$'\e[1m' dim=$'\e[2m' plain=$'\e[0m'
if [ ! -t 1 ] || [ -n "${NO_COLOR:-}" ]; then bold="" dim="" plain=""; fi
say() { printf '\n%s%s%s\n' "$bold" "$*" "$plain"; }

if [ -f "$data/server.json" ] && kill -0 "$(jq -r .pid "$data/server.json")" 2>/dev/null; then
  echo "make run: it is running already, as process $(jq -r .pid "$data/server.json")" >&2
  exit 1
fi
rm -rf build/run
mkdir -p "$data"
scripts/demo-repository.sh "$repository"

export HOLDFAST_DATA=$data
"$bin/holdfast-supervisor" serve --data-dir "$data" --listen 127.0.0.1:0 --default-agent demo --stop-sessions-on-exit \
  2>"$data/supervisor.log" &
supervisor=$!
stop() { kill -TERM "$supervisor" 2>/dev/null || true; wait "$supervisor" 2>/dev/null || true; }
trap stop EXIT
trap 'exit 130' INT TERM
until [ -f "$data/server.json" ]; do
  kill -0 "$supervisor" 2>/dev/null || { cat "$data/supervisor.log" >&2; exit 1; }
  sleep 0.05
done

say "The first Task for pull request 1 of a sample repository"
"$bin/holdfast" run --scope "pr:$repository#1" --follow "Please make the greeting friendlier, and check it.
plan: look around; greet more warmly; run the checks; commit
run: cat greet
write: NOTES.md | Greetings should be warm.\n
append: README.md | \nIt is warm, too: see NOTES.md.\n
run: ./test
run: git add -A && git commit -qm 'Say how warm a greeting should be' && git log --oneline | head -3"

say "The second Task for the same pull request reaches the same agent, in the same directory"
"$bin/holdfast" run --scope "pr:$repository#1" --follow "Thanks. One more thing, on top of what you did:
run: cat NOTES.md
append: NOTES.md | And never sarcastic.\n
run: git commit -qam 'Rule out sarcasm' && git log --oneline | head -3
What did I ask you before?"

if [ "${ONCE:-}" = 1 ]; then
  say "Both Tasks are done, in one session:"
  "$bin/holdfast" sessions
  exit 0
fi

say "The session stays. In another terminal:"
cat <<TEXT
  export HOLDFAST_DATA=$data PATH=$bin:\$PATH
  holdfast run --scope 'pr:$repository#1' --follow 'run: git log --oneline'     # the next Task
  holdfast transcript 'pr:$repository#1'                                        # all that happened
  holdfast sessions; holdfast tasks; holdfast end 'pr:$repository#1'
TEXT
scripts/agents.sh "$repository"
printf '%s\n' "${dim}Serving; Ctrl-C ends it.${plain}"
wait "$supervisor"
