#!/usr/bin/env python3
"""Runs Claude Code, or the scripted agent in its place, and is late with what it prints: from the end of a background task on, which
begins a turn that nobody asked for, until it has got a prompt. So that prompt was sent by somebody who could not know of that turn.

usage: late.py FILE PROGRAM ARGUMENTS...      FILE is made when the prompt is there
"""
import json
import signal
import subprocess
import sys

child = subprocess.Popen(sys.argv[2:], stdout=subprocess.PIPE)
signal.signal(signal.SIGTERM, lambda *_: child.terminate())
held = None
for line in child.stdout:
    frame = json.loads(line) if line.startswith(b"{") else {}
    if frame.get("subtype") == "task_notification":
        held = []
    if held is not None:
        held.append(line)
        if frame.get("state") != "queued":
            continue
        line, held = b"".join(held), None
        open(sys.argv[1], "w").close()
    sys.stdout.buffer.write(line)
    sys.stdout.flush()
code = child.wait()
sys.exit(code if code >= 0 else 128 - code)
