#!/usr/bin/env python3
"""A coding agent without a model: carries out the directives of its prompts (script.py) and speaks the protocol it is told to.

usage: scripted_agent.py acp|claude-code|codex|command [the program's own arguments]

Each front end behaves as its real program was measured to, misbehaviour included. It needs nothing but the standard library, does
nothing on the network, and ends with its standard input.
"""
import json
import os
import signal
import subprocess
import sys
import threading
import time
import uuid

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import script

OUT = threading.RLock()


def emit(frame):
    with OUT:
        sys.stdout.write(json.dumps(frame) + "\n")
        sys.stdout.flush()


class Interrupted(Exception):
    """Somebody stopped the turn."""


class ApiError(Exception):
    def __init__(self, status):
        super().__init__(f"API Error: {status} scripted failure")
        self.status = status


class History:
    """The prompts of one conversation, one JSON line each. A torn last line is ignored, as real agents do."""

    def __init__(self, path):
        self.path = path
        self.prompts = []
        if os.path.exists(path):
            with open(path, "rb") as f:
                for line in f.read().split(b"\n"):
                    try:
                        entry = json.loads(line)
                    except ValueError:
                        continue
                    self.read(entry)

    def read(self, entry):
        if "prompt" in entry:
            self.prompts.append(entry["prompt"])

    def append(self, entry):
        os.makedirs(os.path.dirname(self.path), exist_ok=True)
        torn = os.path.exists(self.path) and not open(self.path, "rb").read().endswith(b"\n")
        with open(self.path, "a") as f:
            f.write(("\n" if torn else "") + json.dumps(entry) + "\n")
            f.flush()
            os.fsync(f.fileno())
        self.read(entry)


class Turn:
    """One prompt, carried out step by step. What happens is told to the front end."""

    def __init__(self, front, history, prompt, asked=True):
        # asked: it is a prompt, and nothing that the agent does by itself.
        self.front, self.history, self.prompt, self.asked = front, history, prompt, asked
        self.steps = script.steps(prompt)
        self.cancelled = threading.Event()
        self.deaf = False
        self.tools = 0
        self.child = None

    def interrupt(self):
        if self.deaf:
            return
        self.cancelled.set()
        self.kill_child()

    def kill_child(self):
        if self.child and self.child.poll() is None:
            os.killpg(self.child.pid, signal.SIGKILL)

    def pause(self, seconds=None):
        if self.cancelled.wait(seconds):
            raise Interrupted

    def run(self):
        """Returns the answer. Raises Interrupted or ApiError."""
        self.history.append({"prompt" if self.asked else "task": self.prompt})
        while self.steps:
            name, argument = self.steps.pop(0)
            if self.cancelled.is_set():
                raise Interrupted
            getattr(self, "do_" + name)(argument)
        text = script.answer(self.history.prompts, self.tools)
        self.front.text(text)
        return text

    def do_say(self, text):
        self.front.text(text)

    def do_think(self, text):
        self.front.thought(text)

    def do_stream(self, seconds):
        said, end, tick = "", time.monotonic() + float(seconds), 0
        self.front.part(None)
        try:
            while time.monotonic() < end:
                word = f"tick {tick} "
                self.front.part(word)
                said, tick = said + word, tick + 1
                self.pause(0.05)
        except Interrupted:
            self.front.parts_over(said, aborted=True)
            raise
        self.front.parts_over(said, aborted=False)

    def do_hang(self, _):
        self.pause()

    def do_error(self, argument):
        words = argument.split()
        raise ApiError(words[0] if words[0] == "refused" else int(words[0]))

    def do_limit(self, _):
        self.front.limit()

    def do_deaf(self, _):
        self.deaf = True

    def do_noise(self, text):
        with OUT:
            sys.stdout.write(text + "\n")
            sys.stdout.flush()

    def do_exit(self, code):
        self.kill_child()
        os._exit(int(code))

    def do_plan(self, entries):
        self.front.plan([e.strip() for e in entries.split(";")])

    def do_background(self, command):
        after = next((argument for name, argument in self.steps if name == "after"), None)
        self.front.background(subprocess.Popen(["sh", "-c", command], stdin=subprocess.DEVNULL, start_new_session=True), after)

    def do_after(self, _):
        pass

    def do_ask(self, argument):
        given = script.question(argument)
        self.tool("AskUserQuestion", given, lambda: (self.front.answered(given), False, None))

    def do_shell(self, command):
        def work():
            # A session of its own, as Claude Code does it: killing the agent's process group does not reach it.
            self.child = subprocess.Popen(
                ["sh", "-c", command], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                start_new_session=True, text=True)
            output, _ = self.child.communicate()
            if self.cancelled.is_set():
                raise Interrupted
            return output.rstrip("\n"), self.child.returncode != 0, None

        self.tool("Bash", {"command": command}, work)

    def do_write(self, argument):
        path, _, text = argument.partition("|")

        def work():
            old = open(path).read() if os.path.exists(path) else None
            with open(path, "w") as f:
                f.write(text)
            return f"wrote {path}", False, {"filePath": os.path.abspath(path), "content": text, "originalFile": old}

        self.tool("Write", {"file_path": path, "content": text}, work)

    def do_edit(self, argument):
        path, old, new = argument.split("|")

        def work():
            before = open(path).read()
            with open(path, "w") as f:
                f.write(before.replace(old, new, 1))
            return f"edited {path}", False, {
                "filePath": os.path.abspath(path), "oldString": old, "newString": new, "originalFile": before}

        self.tool("Edit", {"file_path": path, "old_string": old, "new_string": new}, work)

    def tool(self, name, given, work):
        self.tools += 1
        call = f"call-{uuid.uuid4().hex[:12]}"
        self.front.tool_begins(call, name, given)
        try:
            refusal = self.front.ask(self, call, name, given)
            output, failed, change = (refusal, True, None) if refusal else work()
        except Interrupted:
            self.front.tool_ends(call, "The tool use was rejected: interrupted", True, None)
            raise
        self.front.tool_ends(call, output, failed, change)
        self.front.tool_boundary(self)


class ACP:
    """Agent Client Protocol 1. Conversations are kept in $HOLDFAST_AGENT_STATE/acp."""

    def __init__(self, _):
        self.home = os.environ["HOLDFAST_AGENT_STATE"] + "/acp"
        self.sessions, self.turn, self.session = {}, None, None
        self.answers, self.asked = {}, 0

    def run(self):
        for line in sys.stdin:
            self.received(json.loads(line))
        if self.turn:
            self.turn.interrupt()

    def update(self, **update):
        emit({"jsonrpc": "2.0", "method": "session/update", "params": {"sessionId": self.session, "update": update}})

    def received(self, frame):
        method, params = frame.get("method"), frame.get("params") or {}
        if method is None:
            self.answers.pop(frame["id"], lambda _: None)(frame.get("result"))
        elif method == "session/cancel":
            if self.turn:
                self.turn.interrupt()
        elif method == "session/prompt":
            threading.Thread(target=self.prompt, args=(frame["id"], params), daemon=True).start()
        else:
            try:
                emit({"jsonrpc": "2.0", "id": frame["id"], "result": getattr(self, method.replace("/", "_"))(params)})
            except (AttributeError, KeyError, ValueError) as e:
                code, text = {AttributeError: (-32601, f"no method {method}"), KeyError: (-32002, e.args[0])}.get(
                    type(e), (-32602, e.args[0]))
                emit({"jsonrpc": "2.0", "id": frame["id"], "error": {"code": code, "message": text}})

    def initialize(self, _):
        return {"protocolVersion": 1, "agentCapabilities": {"loadSession": True}, "agentInfo": {"name": "scripted", "version": "1"}}

    def demand(self, params):
        if not isinstance(params.get("mcpServers"), list) or not params.get("cwd", "").startswith("/"):
            raise ValueError("mcpServers and an absolute cwd are required")

    def session_new(self, params):
        self.demand(params)
        return {"sessionId": self.open(uuid.uuid4().hex)}

    def session_load(self, params):
        self.demand(params)
        session = params["sessionId"]
        if not os.path.exists(f"{self.home}/{session}.jsonl"):
            raise KeyError(f"Session not found: {session}")
        self.open(session)
        for prompt in self.sessions[session].prompts:  # The replay, which must not enter the transcript again.
            self.update(sessionUpdate="user_message_chunk", content={"type": "text", "text": prompt})
            self.update(sessionUpdate="agent_message_chunk", content={"type": "text", "text": "REPLAYED"})
        return None

    def open(self, session):
        self.sessions[session] = History(f"{self.home}/{session}.jsonl")
        self.session = session
        if not self.sessions[session].prompts:
            self.sessions[session].append({"opened": True})
        return session

    def prompt(self, id, params):
        text = "\n".join(part.get("text", "") for part in params["prompt"])
        self.turn = Turn(self, self.sessions[params["sessionId"]], text)
        self.stop = "end_turn"
        try:
            self.turn.run()
            turns = len(self.sessions[params["sessionId"]].prompts)  # Of the whole conversation, as vibe-acp tells it.
            answer = {"result": {"stopReason": self.stop, "usage": {"inputTokens": 10 * turns, "outputTokens": 5 * turns}}}
        except Interrupted:
            answer = {"result": {"stopReason": "cancelled"}}
        except ApiError as error:
            # As it was measured: some agents answer an error, some say that they refuse.
            if error.status in (429, 500):
                self.text(str(error))
                answer = {"result": {"stopReason": "refusal"}}
            else:
                answer = {"error": {"code": -32603, "message": "Internal error", "data": {"details": str(error)}}}
        self.turn = None
        emit({"jsonrpc": "2.0", "id": id, **answer})

    def text(self, text):
        self.update(sessionUpdate="agent_message_chunk", messageId=uuid.uuid4().hex, content={"type": "text", "text": text})

    def thought(self, text):
        self.update(sessionUpdate="agent_thought_chunk", content={"type": "text", "text": text})

    def part(self, word):
        if word:
            self.update(sessionUpdate="agent_message_chunk", content={"type": "text", "text": word})

    def parts_over(self, said, aborted):
        pass

    def limit(self):
        self.stop = "max_tokens"

    def plan(self, entries):
        self.update(sessionUpdate="plan", entries=[{"content": e, "priority": "medium", "status": "pending"} for e in entries])

    def background(self, child, after):
        pass

    def tool_boundary(self, turn):
        pass

    def tool_begins(self, call, name, given):
        kind = "execute" if name == "Bash" else "edit"
        title = given.get("command") or f"{name} {given.get('file_path')}"
        self.update(sessionUpdate="tool_call", toolCallId=call, title=title, kind=kind, status="pending", rawInput=given)

    def ask(self, turn, call, name, given):
        self.asked += 1
        id, answered, result = f"ask-{self.asked}", threading.Event(), []
        self.answers[id] = lambda value: (result.append(value), answered.set())
        emit({
            "jsonrpc": "2.0", "id": id, "method": "session/request_permission",
            "params": {"sessionId": self.session, "toolCall": {"toolCallId": call}, "options": [
                {"optionId": "yes", "name": "Allow", "kind": "allow_once"},
                {"optionId": "no", "name": "Reject", "kind": "reject_once"}]}})
        while not answered.wait(0.02):
            if turn.cancelled.is_set():
                raise Interrupted
        if turn.cancelled.is_set():
            raise Interrupted
        outcome = (result[0] or {}).get("outcome") or {}
        if outcome.get("optionId") != "yes":
            return "not allowed"
        self.update(sessionUpdate="tool_call_update", toolCallId=call, status="in_progress")
        return None

    def tool_ends(self, call, output, failed, change):
        content = [{"type": "content", "content": {"type": "text", "text": output}}]
        if change:
            new = change.get("content") or change["originalFile"].replace(change["oldString"], change["newString"], 1)
            content.append({"type": "diff", "path": change["filePath"], "oldText": change["originalFile"], "newText": new})
        self.update(
            sessionUpdate="tool_call_update", toolCallId=call, status="failed" if failed else "completed", content=content)


class ClaudeCode:
    """`claude -p` with stream-json, as 2.1.330 was measured."""

    PRICE = 0.25

    def __init__(self, arguments):
        self.options = {}
        for argument in arguments:
            name, _, value = argument.partition("=")
            self.options.setdefault(name, []).append(value)
        self.config = os.environ["CLAUDE_CONFIG_DIR"]
        self.projects = self.config + "/projects"
        self.turn, self.thread, self.queue = None, None, []
        # What came while a turn ran, and what of it was folded into that.
        self.waiting, self.folded = [], []
        self.answers, self.failed, self.cost, self.used = {}, False, 0.0, 0
        self.children, self.changed, self.closing = [], threading.Condition(), False

    def option(self, name):
        return (self.options.get(name) or [None])[0]

    def run(self):
        if "CLAUDECODE" in os.environ:
            self.die("Error: this is a Claude Code within another one")
        if "--verbose" not in self.options:
            self.die("Error: stream-json output requires --verbose")
        if self.option("--permission-mode") == "bypassPermissions" and os.geteuid() == 0 and os.environ.get("IS_SANDBOX") != "1":
            self.die("--dangerously-skip-permissions cannot be used with root/sudo privileges for security reasons")
        self.tidy()
        self.open()
        signal.signal(signal.SIGTERM, lambda *_: self.terminated())
        threading.Thread(target=self.work, daemon=True).start()
        for line in sys.stdin:
            try:
                self.received(json.loads(line))
            except ValueError:
                self.die("Error parsing streaming input line: " + line[:80])
        # A turn that runs is finished first, and background tasks are waited for.
        with self.changed:
            self.closing = True
            self.changed.notify_all()
            self.changed.wait_for(lambda: self.turn is None and not self.queue)
        for child in self.children:
            child.wait()
        self.save_cost()
        os._exit(1 if self.failed else 0)

    def die(self, text):
        sys.stderr.write(text + "\n")
        sys.stderr.flush()
        os._exit(1)

    def terminated(self):
        OUT.acquire()  # For ever: nothing more is printed, whatever becomes of the turn.
        if self.turn:
            self.turn.kill_child()
        for child in self.children:
            if child.poll() is None:
                os.killpg(child.pid, signal.SIGKILL)
        self.save_cost()
        os._exit(143)

    # ---- conversations

    def tidy(self):
        """Every start deletes the transcripts that are older than cleanupPeriodDays."""
        days = json.loads(self.option("--settings") or "{}").get("cleanupPeriodDays", 30)
        for folder, _, names in os.walk(self.projects):
            for name in names:
                path = f"{folder}/{name}"
                if time.time() - os.stat(path).st_mtime > days * 86400 and self.option("--resume") not in name:
                    os.remove(path)

    def find(self, session):
        for folder, _, names in os.walk(self.projects):
            if f"{session}.jsonl" in names:
                return f"{folder}/{session}.jsonl"
        return None

    def open(self):
        if resumed := self.option("--resume"):
            path = self.find(resumed)
            if not path:
                error = f"No conversation found with session ID: {resumed}"
                emit({"type": "result", "subtype": "error_during_execution", "is_error": True, "num_turns": 0,
                      "session_id": str(uuid.uuid4()), "total_cost_usd": 0, "errors": [error]})
                self.die(error)
            self.session = resumed
        else:
            self.session = self.option("--session-id") or str(uuid.uuid4())
            path = self.find(self.session)
            if path:
                self.die(f"Error: Session ID {self.session} is already in use.")
            path = f"{self.projects}/{os.getcwd().replace('/', '-').replace('.', '-')}/{self.session}.jsonl"
        self.history = History(path)
        if os.path.exists(path):
            for line in open(path):
                if '"cost-state"' in line:
                    self.cost = json.loads(line)["cost"]

    def save_cost(self):
        """Not after a SIGKILL: then the next process counts from the last clean end."""
        if self.history.prompts:
            self.history.append({"type": "cost-state", "cost": self.cost})

    # ---- frames

    def say(self, type, **frame):
        emit({"type": type, "session_id": self.session, "uuid": str(uuid.uuid4()), "parent_tool_use_id": None, **frame})

    def received(self, frame):
        kind = frame["type"]
        if kind == "user":
            with self.changed:
                self.lifecycle(frame, "queued")
                if self.turn:
                    self.waiting.append(frame)
                else:
                    self.queue.append(frame)
                    self.changed.notify_all()
        elif kind == "control_response":
            self.answers.pop(frame["response"]["request_id"], lambda _: None)(frame["response"].get("response"))
        elif kind == "control_request":
            getattr(self, "on_" + frame["request"]["subtype"], self.on_unknown)(frame["request_id"], frame["request"])

    def respond(self, id, response):
        emit({"type": "control_response", "response": {"subtype": "success", "request_id": id, "response": response}})

    def on_unknown(self, id, request):
        emit({"type": "control_response", "response": {
            "subtype": "error", "request_id": id, "error": f"Unsupported control request subtype: {request['subtype']}"}})

    def on_initialize(self, id, _):
        self.respond(id, {"commands": [], "models": [], "pid": os.getpid(), "claude_code_version": "2.1.330"})

    def on_interrupt(self, id, _):
        with self.changed:
            # Before a turn has begun it stops nothing.
            self.respond(id, {"still_queued": [f.get("uuid") for f in self.waiting + self.queue]})
            if self.turn:
                self.turn.interrupt()

    def lifecycle(self, frame, state):
        if frame and frame.get("uuid"):
            self.say("command_lifecycle", command_uuid=frame["uuid"], state=state)

    # ---- turns

    def work(self):
        while True:
            with self.changed:
                self.changed.wait_for(lambda: self.queue)
                frame = self.queue.pop(0)
                asked = frame["type"] == "user"
                self.turn = Turn(self, self.history, frame["message"]["content"], asked)
                self.folded = []
                self.lifecycle(frame if asked else None, "started")
            self.one_turn(frame)

    def tool_boundary(self, turn):
        """After a tool call, what has come in the meantime is folded into the turn: there will be one result."""
        with self.changed:
            frames, self.waiting = self.waiting, []
            self.folded += frames
        for frame in frames:
            text = frame["message"]["content"]
            self.lifecycle(frame, "started")
            self.history.append({"prompt": "The user sent a new message while you were working: " + text})
            turn.steps = script.steps(text)

    def one_turn(self, frame):
        self.begun_cost, self.failed, self.block = self.cost, False, 0
        self.say("system", subtype="init", cwd=os.getcwd(), model=self.option("--model") or "scripted",
                 permissionMode=self.option("--permission-mode"), claude_code_version="2.1.330", tools=["Bash", "Edit", "Write"])
        self.say("system", subtype="from_the_future", something=[1])
        self.say("rate_limit_event", rate_limit_info={})
        self.pay(0)
        try:
            text = self.turn.run()
            self.result(frame, subtype="success", is_error=False, terminal_reason="completed", stop_reason="end_turn", result=text)
        except Interrupted:
            self.say("user", message={"role": "user", "content": [{"type": "text", "text": "[Request interrupted by user]"}]})
            self.result(frame, subtype="error_during_execution", is_error=True, terminal_reason="aborted_streaming", errors=["x"])
        except ApiError as error:
            # The subtype says success.
            self.failed = True
            status = None if error.status == "refused" else error.status
            if status != 400:
                self.say("system", subtype="api_retry", attempt=1, max_retries=1, retry_delay_ms=1, error_status=status, error="unknown")
            self.say("assistant", is_api_error_message=True, message={
                "role": "assistant", "content": [{"type": "text", "text": str(error)}]})
            self.result(frame, subtype="success", is_error=True, terminal_reason="api_error", api_error_status=status, result=str(error))

    def pay(self, tokens):
        self.cost += self.PRICE
        self.used += tokens

    def result(self, frame, **fields):
        asked = frame["type"] == "user"
        end = "cancelled" if fields["is_error"] else "completed"
        for folded in self.folded:
            self.lifecycle(folded, end)
        with self.changed:
            # What was not folded, and what comes after the result, is no part of the turn.
            self.turn = None
            self.queue, self.waiting = self.waiting + self.queue, []
        prompts = [f.get("uuid") for f in ([frame] if asked else []) + self.folded]
        fields.update({"user_message_uuids": prompts} if prompts else {}, **({} if asked else {"origin": {"kind": "task-notification"}}))
        spent = self.cost - self.begun_cost
        usage = {"input_tokens": 10, "output_tokens": 5, "cache_read_input_tokens": 2, "cache_creation_input_tokens": 0}
        self.say("result", num_turns=1, total_cost_usd=self.cost, usage=usage, queued_turn_count=len(self.queue), **fields, **(
            {} if os.environ.get("SCRIPTED_OLD") else {"model_usage_since_last_result": {"scripted": {
                "inputTokens": 10, "outputTokens": 5, "cacheReadInputTokens": 2, "cacheCreationInputTokens": 0, "costUSD": spent}}}))
        self.lifecycle(frame if asked else None, end)
        with self.changed:
            self.changed.notify_all()

    def block_of(self, **block):
        return {"role": "assistant", "id": "msg", "content": [block]}

    def text(self, text):
        self.part(text)
        self.parts_over(text, aborted=False)

    def part(self, word):
        if word:
            self.say("stream_event", event={"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": word}})

    def parts_over(self, said, aborted):
        self.say("assistant", message=self.block_of(type="text", text=said), **({"aborted": True} if aborted else {}))

    def thought(self, text):
        self.say("assistant", message=self.block_of(type="thinking", thinking=text, signature="x"))

    def limit(self):
        raise ApiError("max_output_tokens")

    def plan(self, entries):
        todos = [{"content": e, "status": "pending", "activeForm": e} for e in entries]
        self.say("assistant", message=self.block_of(type="tool_use", id="todo", name="TodoWrite", input={"todos": todos}))
        self.tool_ends("todo", "Todos have been modified successfully", False, None)

    def background(self, child, after):
        self.children.append(child)
        steps = f"{{{{shell: {after}}}}} " if after else ""

        def watch():
            child.wait()
            with self.changed:
                self.say("system", subtype="task_notification", status="completed")
                # A turn of its own, which nobody asked for.
                self.queue.append({"type": "task", "message": {"content": f"background task over {steps}{{{{say: It is over.}}}}"}})
                self.changed.notify_all()

        threading.Thread(target=watch, daemon=True).start()

    def tool_begins(self, call, name, given):
        self.say("assistant", message=self.block_of(type="tool_use", id=call, name=name, input=given))

    def ask(self, turn, call, name, given):
        mode = self.option("--permission-mode")
        if mode == "bypassPermissions" or any(a.startswith(name) for a in self.options.get("--allowedTools", [])):
            return None
        if mode == "dontAsk" or self.option("--permission-prompt-tool") != "stdio":
            return f"Permission to use {name} has been denied."
        id, answered, result = str(uuid.uuid4()), threading.Event(), []
        self.answers[id] = lambda value: (result.append(value), answered.set())
        emit({"type": "control_request", "request_id": id, "request": {
            "subtype": "can_use_tool", "tool_name": name, "input": given, "tool_use_id": call,
            "permission_suggestions": [{"type": "addRules", "rules": [{"toolName": name}], "behavior": "allow",
                                        "destination": "localSettings"}]}})
        while not answered.wait(0.02):
            if turn.cancelled.is_set():
                emit({"type": "control_cancel_request", "request_id": id})
                raise Interrupted
        if result[0]["behavior"] == "allow":
            self.chosen = result[0]["updatedInput"].pop("answers", {})
            assert result[0]["updatedInput"] == given
            for update in result[0].get("updatedPermissions", []):
                assert update["destination"] == "session"
                self.options.setdefault("--allowedTools", []).append(update["rules"][0]["toolName"])
            return None
        return result[0]["message"]

    def answered(self, given):
        pairs = ", ".join(f'"{q["question"]}"="{self.chosen[q["question"]]}"' for q in given["questions"])
        return f"User has answered your questions: {pairs}."

    def tool_ends(self, call, output, failed, change):
        self.say("user", tool_use_result=change or {"stdout": output, "stderr": ""}, message={"role": "user", "content": [
            {"type": "tool_result", "tool_use_id": call, "content": output, "is_error": failed}]})


class CodexItems:
    """What `codex app-server` and `codex exec --json` have in common, as 0.163 was measured: threads in
    $CODEX_HOME/sessions, and things that begin and end."""

    def find(self, thread):
        path = f"{self.home}/sessions/rollout-{thread}.jsonl"
        if not os.path.exists(path):
            raise LookupError(f"no rollout found for thread id {thread}")
        return History(path)

    def fresh(self):
        """A thread is on disk only with its first prompt."""
        thread = str(uuid.uuid4())
        return thread, History(f"{self.home}/sessions/rollout-{thread}.jsonl")

    def text(self, text):
        self.part(None)
        self.part(text)
        self.parts_over(text, aborted=False)

    def thought(self, text):
        self.item("completed", {"type": "reasoning", "id": uuid.uuid4().hex, "summary": [text], "content": []})

    def part(self, word):
        if word is None:
            self.message = uuid.uuid4().hex
        else:
            self.delta(self.message, word)

    def parts_over(self, said, aborted):
        if not aborted:  # What is cut off is never completed.
            self.item("completed", {"type": "agentMessage", "id": self.message, "text": said})

    def limit(self):
        raise ApiError(500)

    def background(self, child, after):
        pass

    def tool_boundary(self, turn):
        pass

    def tool_begins(self, call, name, given):
        if name == "Bash":
            self.open_item = {"type": "commandExecution", "id": call, "command": f"/bin/bash -lc '{given['command']}'",
                              "commandActions": [{"type": "unknown", "command": given["command"]}]}
        else:
            path = given["file_path"]
            change = {"path": path, "kind": {"type": "add"}, "diff": given.get("content", "")}
            if name == "Edit":
                change = {"path": path, "kind": {"type": "update", "move_path": None},
                          "diff": f"@@ -1 +1 @@\n-{given['old_string']}\n+{given['new_string']}\n"}
            self.open_item = {"type": "fileChange", "id": call, "changes": [change]}
        self.item("started", {**self.open_item, "status": "inProgress"})

    def tool_ends(self, call, output, failed, change):
        if self.turn.cancelled.is_set():  # An interruption completes nothing.
            return
        item = {**self.open_item, "status": "failed" if failed else "completed"}
        if output == "declined":
            item["status"] = "declined"
        elif item["type"] == "commandExecution":
            item.update(aggregatedOutput=output + "\n", exitCode=1 if failed else 0)
        self.item("completed", item)


class CodexServer(CodexItems):
    """`codex app-server`: JSON-RPC without its member "jsonrpc"."""

    def __init__(self, _):
        self.home = os.environ["CODEX_HOME"]
        self.threads, self.turn, self.turn_id, self.loaded = {}, None, None, None
        self.asks, self.asked, self.policy, self.total, self.active = {}, 0, None, {}, False

    def run(self):
        if not os.path.isdir(self.home):
            sys.exit(f"Error: CODEX_HOME points to {self.home!r}, but that path does not exist")
        # It takes a moment to end, and leaves its tools alive.
        signal.signal(signal.SIGTERM, lambda *_: (time.sleep(0.3), os._exit(0)))
        for line in sys.stdin:
            self.received(json.loads(line))
        if self.turn:
            self.turn.kill_child()

    def notify(self, method, **params):
        emit({"method": method, "params": params, "emittedAtMs": int(time.time() * 1000)})

    def received(self, frame):
        method, params = frame.get("method"), frame.get("params") or {}
        if method is None:
            self.asks.pop(frame["id"], lambda _: None)(frame["result"]["decision"])
        elif "id" in frame:
            try:
                self.answer_to(frame["id"], method, params)
            except LookupError as error:
                emit({"error": {"code": -32600, "message": error.args[0]}, "id": frame["id"]})

    def answer_to(self, id, method, params):
        if method == "initialize":
            emit({"id": id, "result": {"userAgent": "holdfast/0.163.0 (scripted)", "codexHome": self.home}})
            self.notify("remoteControl/status/changed", status="disabled")
        elif method in ("thread/start", "thread/resume"):
            if method == "thread/start":
                self.loaded, self.threads = None, {}
                thread, history = self.fresh()
            else:
                thread = params["threadId"]
                history = self.find(thread)
            self.loaded, self.threads[thread], self.policy = thread, history, params["approvalPolicy"]
            turns = [] if params.get("excludeTurns") else [{"items": [{"type": "agentMessage", "text": "REPLAYED"}]}]
            emit({"id": id, "result": {"thread": {"id": thread, "turns": turns}, "model": params.get("model") or "scripted"}})
        elif method == "turn/start":
            if params["threadId"] not in self.threads:
                raise LookupError(f"thread not found: {params['threadId']}")
            text = "\n".join(part["text"] for part in params["input"])
            if self.turn:
                # Folded into the running turn, whose id is the answer.
                self.turn.history.append({"prompt": "FOLDED " + text})
            else:
                self.turn_id = str(uuid.uuid4())
                self.turn = Turn(self, self.threads[params["threadId"]], text)
                threading.Thread(target=self.work, args=(self.turn, self.turn_id), daemon=True).start()
            emit({"id": id, "result": {"turn": {"id": self.turn_id, "status": "inProgress", "items": []}}})
        elif method == "turn/interrupt":
            # Before the turn has begun there is none, and it goes on.
            if not self.active or params["turnId"] != self.turn_id:
                raise LookupError("no active turn to interrupt")
            emit({"id": id, "result": {}})
            self.turn.interrupt()
        else:
            raise LookupError(f"Invalid request: unknown variant `{method}`")

    def about(self, **fields):
        return {"threadId": self.loaded, "turnId": self.turn_id, **fields}

    def work(self, turn, id):
        time.sleep(0.05)
        self.active = True
        self.notify("turn/started", threadId=self.loaded, turn={"id": id, "status": "inProgress"})
        self.notify("warning", threadId=self.loaded, message="Model metadata for `scripted` not found.")
        self.notify("item/completed", threadId="of-a-sub-agent", turnId="x", item={"type": "agentMessage", "id": "y", "text": "NOT OURS"})
        self.item("completed", {"type": "userMessage", "id": uuid.uuid4().hex, "content": []})
        end = {"status": "completed", "error": None}
        try:
            turn.run()
            used = self.total.get(self.loaded, 0) + 100
            self.total[self.loaded] = used
            counts = lambda n: {"totalTokens": n + n // 10, "inputTokens": n, "cachedInputTokens": 0, "outputTokens": n // 10, "reasoningOutputTokens": 0}
            self.notify("thread/tokenUsage/updated", **self.about(tokenUsage={
                "total": counts(used), "last": counts(100), "modelContextWindow": 1}))
        except Interrupted:
            end["status"] = "interrupted"
        except ApiError as error:
            wrong = {"message": str(error), "codexErrorInfo": {"httpConnectionFailed": {"httpStatusCode": None}}, "additionalDetails": None}
            if error.status not in (400, 429):
                self.notify("error", **self.about(willRetry=True, error={**wrong, "message": "Reconnecting... 1/1"}))
            self.notify("error", **self.about(willRetry=False, error=wrong))
            end = {"status": "failed", "error": wrong}
        self.turn, self.active = None, False
        self.notify("turn/completed", threadId=self.loaded, turn={"id": id, "items": [], **end})

    def item(self, state, item):
        self.notify(f"item/{state}", **self.about(item=item))

    def delta(self, message, word):
        self.notify("item/agentMessage/delta", **self.about(itemId=message, delta=word))

    def plan(self, entries):
        self.notify("turn/plan/updated", **self.about(plan=[{"step": e, "status": "pending"} for e in entries]))

    def ask(self, turn, call, name, given):
        if self.policy == "never":
            return None
        id, self.asked = self.asked, self.asked + 1
        answered, result = threading.Event(), []
        self.asks[id] = lambda value: (result.append(value), answered.set())
        kind = "commandExecution" if name == "Bash" else "fileChange"
        emit({"id": id, "method": f"item/{kind}/requestApproval", "params": self.about(
            itemId=call, reason=None, **({"availableDecisions": ["accept", "cancel"]} if name == "Bash" else {}))})
        while not answered.wait(0.02):
            if turn.cancelled.is_set():
                raise Interrupted
        self.notify("serverRequest/resolved", threadId=self.loaded, requestId=id)
        assert result[0] in ("accept", "decline")
        return None if result[0] == "accept" else "declined"


class CodexExec(CodexItems):
    """`codex exec --json [resume THREAD]`: one process for each turn, with the prompt on its standard input."""

    TYPES = {"agentMessage": "agent_message", "commandExecution": "command_execution", "fileChange": "file_change"}

    def __init__(self, arguments):
        self.home = os.environ["HOLDFAST_AGENT_STATE"]
        self.resumed = arguments[1] if arguments[:1] == ["resume"] else None

    def run(self):
        try:
            thread, history = (self.resumed, self.find(self.resumed)) if self.resumed else self.fresh()
        except LookupError as error:
            sys.exit(f"Error: thread/resume: thread/resume failed: {error.args[0]} (code -32600)")
        emit({"type": "thread.started", "thread_id": thread})
        emit({"type": "turn.started"})
        self.turn = Turn(self, history, sys.stdin.read())
        try:
            self.turn.run()
        except ApiError as error:
            emit({"type": "error", "message": str(error)})
            emit({"type": "turn.failed", "error": {"message": str(error)}})
            sys.exit(1)
        used = 100 * len(history.prompts)
        emit({"type": "turn.completed", "usage": {"input_tokens": used, "cached_input_tokens": 0, "output_tokens": used // 10}})

    def item(self, state, item):
        item = {**item, "type": self.TYPES.get(item["type"], item["type"])}
        if item["type"] == "reasoning":
            item = {"type": "reasoning", "id": item["id"], "text": "".join(item["summary"])}
        for old, new in (("aggregatedOutput", "aggregated_output"), ("exitCode", "exit_code"), ("commandActions", None)):
            value = item.pop(old, None)
            if new and value is not None:
                item[new] = value
        item["changes"] = [{"path": c["path"], "kind": c["kind"]["type"]} for c in item.get("changes", [])]
        emit({"type": f"item.{state}", "item": item})

    def delta(self, message, word):
        pass

    def plan(self, entries):
        self.item("completed", {"type": "todo_list", "id": "plan", "items": [{"text": e, "completed": False} for e in entries]})

    def ask(self, turn, call, name, given):
        return None


if __name__ == "__main__":
    FRONTS = {"acp": ACP, "claude-code": ClaudeCode, "codex": CodexServer, "command": CodexExec}
    FRONTS[sys.argv[1]](sys.argv[2:]).run()
