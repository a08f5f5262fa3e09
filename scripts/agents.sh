#!/bin/sh
# Says which real agents are installed here, and how to use them in place of the demonstration agent.
set -eu
repository=${1:-OWNER/REPO}

found=""
while IFS='|' read -r program command; do
  command -v "$program" >/dev/null 2>&1 || continue
  [ -n "$found" ] || echo "
To use a real agent, describe it in a file and name the file:"
  found=yes
  list=$(printf '%s' "$command" | jq -R -c 'split(" ")')
  echo "  echo '{\"driver\":\"acp\",\"command\":$list}' > $program.json
  holdfast run --profile $program --agent $program.json --scope 'pr:$repository#1' --follow 'Review this pull request'"
done <<'LIST'
codex-acp|codex-acp
gemini|gemini --acp
vibe-acp|vibe-acp
opencode|opencode acp
goose|goose acp
LIST
if command -v claude >/dev/null 2>&1; then
  echo "
Claude Code is installed; with ANTHROPIC_API_KEY in the supervisor's environment:
  holdfast run --profile claude --agent claude --scope 'pr:$repository#1' --follow 'Review this pull request'"
fi
