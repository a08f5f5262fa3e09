#!/usr/bin/env bash
# Runs the conformance scenarios with real agents against the scripted model. Each agent is installed into a virtual environment of
# its own under the cache folder, once; one that cannot be installed is skipped with the reason.
#   AGENTS="claude vibe-acp"     only these
#   SCENARIOS="killed,API error" only those with one of these in their names
set -uo pipefail
cd "$(dirname "$0")/.."

cache=${XDG_CACHE_HOME:-$HOME/.cache}/holdfast/agents
export HOLDFAST_AGENT_PROGRAMS=$cache/bin
mkdir -p "$cache/bin"
python3 -c 'import ensurepip, venv' 2>/dev/null || scripts/deps.sh python3-venv

# name|package of a fixed version|program, with % for the virtual environment's site-packages|its Python, where it must be a new one
known="claude|claude-agent-sdk==0.2.189|%/claude_agent_sdk/_bundled/claude|
codex|openai-codex==0.163.0|%/codex_cli_bin/bin/codex|
hermes-acp|hermes-agent[acp]==0.19.0|hermes-acp|
gptme-acp|gptme-acp==0.35.1|gptme-acp|
vibe-acp|mistral-vibe==3.0.2|vibe-acp|new
fast-agent-acp|fast-agent-mcp==0.10.48|fast-agent-acp|new"

install_agent() { # name package program python
  local venv=$cache/$1 program=$3 python=python3
  rm -f "$cache/bin/$1"
  if [ ! -f "$venv/.installed" ]; then
    if [ "$4" = new ]; then python=$(scripts/python.sh) || return 1; fi
    rm -rf "$venv"
    "$python" -m venv "$venv" && "$venv/bin/pip" install --quiet --disable-pip-version-check "$2" || return 1
    touch "$venv/.installed"
  fi
  local site
  site=$("$venv/bin/python" -c 'import sysconfig; print(sysconfig.get_paths()["purelib"])')
  program=${program//%/$site}
  [ "${program#/}" != "$program" ] || program=$venv/bin/$program
  [ -x "$program" ] || { echo "$program is not in the package $2"; return 1; }
  ln -sf "$program" "$cache/bin/$1"
}

found=0
while IFS='|' read -r name package program python; do
  if [ -n "${AGENTS:-}" ] && ! printf ' %s ' "$AGENTS" | grep -q " $name "; then
    rm -f "$cache/bin/$name"
    continue
  fi
  if reason=$(install_agent "$name" "$package" "$program" "$python" 2>&1); then
    echo "$name: installed"
    found=1
  else
    echo "$name: skipped, because it cannot be installed: $(printf '%s' "$reason" | tail -n 1)"
  fi
done <<<"$known"
[ "$found" = 1 ] || { echo "test-agents: no real agent could be installed; nothing was tested"; exit 0; }

log=$(mktemp)
trap 'rm -f "$log"' EXIT
timeout --kill-after=10 "${TEST_TIMEOUT:-1500}" "${SWIFT:-swift}" test --skip-build --filter '^(AgentsTests\.RealAgentTests|EndToEndTests\.EndToEndTests/RealAgentStoryTests)' >"$log" 2>&1
status=$?
[ "$status" -eq 0 ] || cat "$log"
# How many scenarios each agent was run with, and what it cannot do and why.
sed -n 's/^◇ Test case passing 1 argument it → \([^:]*\): .* to scenario(_:) started\.$/\1/p' "$log" | sort | uniq -c |
  while read -r begun name; do
    skipped=$(grep -c "^skipped: $name: " "$log")
    echo "$name: $((begun - skipped)) scenarios ran, $skipped skipped"
  done
sed -n 's/^skipped: /  skipped: /p' "$log" | sort
grep -E '^(✔|✘) Test run' "$log"
exit "$status"
