#!/usr/bin/env python3
"""A model's API without a model, for real agents: answers what the directives of the last prompt say (script.py).

Speaks, over HTTP on 127.0.0.1 only, streamed and not:
  POST /v1/messages           Anthropic Messages
  POST /v1/chat/completions   OpenAI Chat Completions
  POST /v1/responses          OpenAI Responses
  GET  /v1/models

An answer is a function of the request alone: the last prompt holds the script, and the number of tool results after it says how
far the agent has come. So nothing is kept, and an agent may be killed and resumed at will. Only {{error: STATUS TIMES}} counts.

usage: scripted_model.py      prints its port, and ends when its standard input does, after 30 minutes at the latest
"""
import hashlib
import json
import os
import re
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import script

# What agents put around a user's words: <system-reminder>…</system-reminder>, <environment_context>…, and the like.
WRAPPED = re.compile(r"<([a-zA-Z_][\w-]*)(?:\s[^>]*)?>.*?</\1>", re.S)
# And what Claude Code says after one that came while it worked.
FOLDED = re.compile(r"\n\nThis is how Claude Code surfaces .*", re.S)
SHELL = ("Bash", "bash", "exec_command", "shell_command", "shell", "execute", "run_command", "terminal")
WRITE = ("Write", "write_file", "write", "create_file", "write_text_file")
EDIT = ("Edit", "edit_file", "edit", "str_replace", "search_replace", "replace_in_file")
FAILED, FAILURES = threading.Lock(), {}


def text_of(content):
    if isinstance(content, str):
        return content
    parts = content if isinstance(content, list) else []
    return "\n".join(p.get("text") or "" for p in parts if isinstance(p, dict) and "text" in p)


class Request:
    """What all three APIs have in common: the user's prompts, the tools, and the tool results after the last prompt."""

    def __init__(self):
        self.prompts, self.results, self.tools = [], 0, {}
        # Claude Code has told of the end of a background task since the last prompt.
        self.notified = False
        # gptme has no tools in its requests: the model writes them into its messages.
        self.written = False

    def user(self, text):
        self.notified = self.notified or "<task-notification>" in text
        text = FOLDED.sub("", WRAPPED.sub("", text)).strip()
        # Claude Code's notes of an interruption, Codex's of the project's instructions.
        if text and not text.startswith(("[Request interrupted", "# AGENTS.md", "<")):
            self.prompts.append(text)
            self.results = 0
            self.notified = False

    def result(self):
        self.results += 1

    def tool(self, names, fields):
        """The agent's name for a tool and its arguments, from ours: {meaning: (candidates, value)}."""
        name = next((n for n in names if n in self.tools), None)
        if name is None:
            return None
        schema = self.tools[name]
        known = schema.get("properties") or {}
        arguments = {}
        for candidates, value in fields:
            field = next((c for c in candidates if c in known), candidates[0])
            wants_list = (known.get(field) or {}).get("type") == "array"
            arguments[field] = ["bash", "-lc", value] if wants_list else value
        for field in schema.get("required") or []:
            kind = (known.get(field) or {}).get("type")
            arguments.setdefault(field, {"boolean": False, "integer": 30, "number": 30}.get(kind, "scripted"))
        return name, arguments

    def call(self, directive, argument):
        if self.written:
            return f"```shell\n{argument}\n```" if directive == "shell" else None
        paths, shells = ("file_path", "path", "filename"), ("command", "cmd", "script", "code")
        if directive == "shell":
            return self.tool(SHELL, [(shells, argument)])
        if directive == "ask":
            return ("AskUserQuestion", script.question(argument)) if "AskUserQuestion" in self.tools else None
        if directive == "background":
            name, arguments = self.tool(SHELL, [(shells, argument)])
            return name, {**arguments, "run_in_background": True}
        path, *texts = argument.split("|")
        if "exec_command" in self.tools:  # Codex takes a patch out of the shell command.
            change = f"*** Add File: {path}\n+{texts[0]}" if directive == "write" else (
                f"*** Update File: {path}\n@@\n-{texts[0]}\n+{texts[1]}")
            return self.tool(SHELL, [(shells, f"apply_patch <<'EOF'\n*** Begin Patch\n{change}\n*** End Patch\nEOF\n")])
        if directive == "write":
            return self.tool(WRITE, [(paths, path), (("content", "text", "contents"), texts[0])]) or self.tool(
                SHELL, [(shells, f"printf %s '{texts[0]}' > {path}")])
        return self.tool(EDIT, [(paths, path), (("old_string", "old_str", "old"), texts[0]), (("new_string", "new_str", "new"), texts[1])]
                         ) or self.tool(SHELL, [(shells, f"sed -i 's|{texts[0]}|{texts[1]}|' {path}")])

    def plan(self):
        """What to answer: [(kind, value)], of which a tool call is the last."""
        if not self.prompts:
            return [("text", "Nothing was asked.")]
        seen, actions = 0, []
        # Some agents put the prompt of a turn that failed, or was cut off, before the next one: that is over.
        for directive, argument in script.steps(self.prompts[-1].split("\n\n")[-1]):
            if directive == "after":
                if not self.notified:
                    continue
                directive = "shell"
            if directive in ("shell", "write", "edit", "background", "ask"):
                seen += 1
                call = self.call(directive, argument)
                if call is None:  # Asked for a title or the like, without tools.
                    continue
                if seen > self.results:
                    return actions + [("text", f"\n\n{call}\n") if self.written else ("call", call)]
                actions = []  # Said already, in an earlier answer.
            elif directive in ("say", "think", "stream", "hang", "error", "limit"):
                actions.append(({"say": "text"}.get(directive, directive), argument))
        return actions + [("text", script.answer(self.prompts, self.results))]


def anthropic(body):
    request = Request()
    request.tools = {t["name"]: t["input_schema"] for t in body.get("tools") or [] if "input_schema" in t}
    for message in body.get("messages", []):
        if message["role"] != "user":
            continue
        blocks = message["content"]
        blocks = blocks if isinstance(blocks, list) else [{"type": "text", "text": blocks}]
        for _ in [b for b in blocks if b.get("type") == "tool_result"]:
            request.result()
        for block in blocks:  # Several prompts in a row are one message.
            if block.get("type") == "text":
                request.user(block["text"])
    return request


def chat(body):
    request = Request()
    for tool in body.get("tools") or []:
        request.tools[tool["function"]["name"]] = tool["function"].get("parameters") or {}
    before = None
    for message in body.get("messages", []):
        text = text_of(message.get("content"))
        if message["role"] == "system" and not request.prompts:
            request.written = request.written or "gptme" in text
        if message["role"] == "tool" or request.written and (before, message["role"]) == ("assistant", "system"):
            request.result()
        elif message["role"] == "user":
            request.user(text)
        before = message["role"]
    return request


def responses(body):
    request = Request()
    for tool in body.get("tools") or []:
        if tool.get("type") == "function":
            request.tools[tool["name"]] = tool.get("parameters") or {}
    items = body.get("input")
    for item in items if isinstance(items, list) else [{"role": "user", "content": items or ""}]:
        if item.get("type") in (None, "message") and item.get("role") == "user":
            request.user(text_of(item.get("content")))
        elif str(item.get("type", "")).endswith("_call_output"):
            request.result()
    return request


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    # ---- HTTP

    def answer(self, status, value):
        data = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def body(self):
        if "chunked" not in (self.headers.get("transfer-encoding") or "").lower():
            return self.rfile.read(int(self.headers.get("content-length") or 0))
        data = b""
        while size := int(self.rfile.readline().strip() or b"0", 16):
            data += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return data

    def do_HEAD(self):
        self.send_response(200)
        self.send_header("content-length", "0")
        self.end_headers()

    def do_GET(self):
        self.answer(200, {"object": "list", "data": [{"id": "scripted", "object": "model", "created": 0, "owned_by": "holdfast"}]})

    def do_POST(self):
        body = json.loads(self.body() or b"{}")
        path = self.path.split("?")[0]
        kinds = {"/messages": (anthropic, self.messages), "/chat/completions": (chat, self.completions), "/responses": (responses, self.items)}
        kind = next((k for suffix, k in kinds.items() if path.endswith(suffix)), None)
        if kind is None:
            return self.answer(404, {"error": {"type": "not_found_error", "message": f"nothing is at {path}"}})
        read, write = kind
        request = read(body)
        actions = request.plan()
        for _, argument in [a for a in actions if a[0] == "error"]:
            if self.fails(request.prompts, argument):
                return None
        try:
            write(body, [a for a in actions if a[0] not in ("error",)])
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True

    def fails(self, prompts, argument):
        """Fails this request, if it is one of those that are to fail."""
        status, _, times = argument.partition(" ")
        key = hashlib.sha256("\0".join(prompts).encode()).hexdigest()
        with FAILED:
            FAILURES[key] = FAILURES.get(key, 0) + 1
            if times and FAILURES[key] > int(times):
                return False
        if status == "refused":  # As near as a server that listens can come to it.
            self.close_connection = True
            self.connection.close()
            return True
        kinds = {"400": "invalid_request_error", "401": "authentication_error", "429": "rate_limit_error"}
        kind = kinds.get(status, "api_error")
        self.answer(int(status), {"type": "error", "error": {"type": kind, "code": kind, "message": "scripted failure"}})
        return True

    def stream(self):
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.send_header("connection", "close")
        self.end_headers()
        self.close_connection = True

    def event(self, value, name=None):
        text = value if isinstance(value, str) else json.dumps(value)
        self.wfile.write(((f"event: {name}\n" if name else "") + f"data: {text}\n\n").encode())
        self.wfile.flush()

    def words(self, kind, argument):
        """A text in parts, slowly where that is asked for."""
        if kind == "text":
            yield argument + " "
        elif kind == "stream":
            end, tick = time.monotonic() + float(argument), 0
            while time.monotonic() < end:
                yield f"tick {tick} "
                tick += 1
                time.sleep(0.1)
        elif kind == "hang":
            end = time.monotonic() + 120
            while time.monotonic() < end:
                time.sleep(0.1)
                self.wfile.write(b": nothing yet\n\n")
                self.wfile.flush()

    # ---- Anthropic Messages

    def messages(self, body, actions):
        called = any(k == "call" for k, _ in actions)
        stop = "max_tokens" if any(k == "limit" for k, _ in actions) else "tool_use" if called else "end_turn"
        usage = {"input_tokens": 100, "cache_creation_input_tokens": 0, "cache_read_input_tokens": 20, "output_tokens": 1}
        message = {"id": fresh("msg_"), "type": "message", "role": "assistant", "model": body.get("model"), "stop_sequence": None}
        if not body.get("stream"):
            content = [
                {"type": "tool_use", "id": fresh("toolu_"), "name": v[0], "input": v[1]} if k == "call" else
                {"type": "text", "text": "".join(self.words(k, v))} for k, v in actions if k in ("call", "text", "stream")]
            return self.answer(200, {**message, "content": content, "stop_reason": stop, "usage": {**usage, "output_tokens": 10}})
        self.stream()
        self.event({"type": "message_start", "message": {**message, "content": [], "stop_reason": None, "usage": usage}}, "message_start")

        def block(index, start, deltas):
            self.event({"type": "content_block_start", "index": index, "content_block": start}, "content_block_start")
            for delta in deltas:
                self.event({"type": "content_block_delta", "index": index, "delta": delta}, "content_block_delta")
            self.event({"type": "content_block_stop", "index": index}, "content_block_stop")

        for index, (kind, value) in enumerate(a for a in actions if a[0] != "limit"):
            if kind == "call":
                block(index, {"type": "tool_use", "id": fresh("toolu_"), "name": value[0], "input": {}},
                      [{"type": "input_json_delta", "partial_json": json.dumps(value[1])}])
            elif kind == "think":
                block(index, {"type": "thinking", "thinking": "", "signature": ""}, [
                    {"type": "thinking_delta", "thinking": value}, {"type": "signature_delta", "signature": "c2NyaXB0ZWQ="}])
            else:
                block(index, {"type": "text", "text": ""}, ({"type": "text_delta", "text": w} for w in self.words(kind, value)))
        self.event({"type": "message_delta", "delta": {"stop_reason": stop, "stop_sequence": None},
                    "usage": {**usage, "output_tokens": 10}}, "message_delta")
        self.event({"type": "message_stop"}, "message_stop")

    # ---- OpenAI Chat Completions

    def completions(self, body, actions):
        called = any(k == "call" for k, _ in actions)
        stop = "length" if any(k == "limit" for k, _ in actions) else "tool_calls" if called else "stop"
        usage = {"prompt_tokens": 100, "completion_tokens": 10, "total_tokens": 110}
        base = {"id": fresh("chatcmpl-"), "created": int(time.time()), "model": body.get("model")}

        def call(value):
            function = {"name": value[0], "arguments": json.dumps(value[1])}
            return {"index": 0, "id": fresh("call_")[:14], "type": "function", "function": function}

        if not body.get("stream"):
            message = {"role": "assistant", "content": ""}
            for kind, value in actions:
                if kind == "call":
                    message["tool_calls"] = [call(value)]
                elif kind in ("text", "stream"):
                    message["content"] += "".join(self.words(kind, value))
            choice = {"index": 0, "message": message, "finish_reason": stop}
            return self.answer(200, {**base, "object": "chat.completion", "choices": [choice], "usage": usage})
        self.stream()

        def chunk(delta, reason=None, **more):
            self.event({**base, "object": "chat.completion.chunk", **more,
                        "choices": [{"index": 0, "delta": delta, "finish_reason": reason}]})

        chunk({"role": "assistant", "content": ""})
        for kind, value in actions:
            if kind == "call":
                chunk({"tool_calls": [call(value)]})
            elif kind == "think":
                chunk({"reasoning_content": value})
            elif kind != "limit":
                for word in self.words(kind, value):
                    chunk({"content": word})
        chunk({}, stop, usage=usage)  # Mistral has the usage on the last choice, OpenAI in a chunk of its own.
        if (body.get("stream_options") or {}).get("include_usage"):
            self.event({**base, "object": "chat.completion.chunk", "choices": [], "usage": usage})
        self.event("[DONE]")

    # ---- OpenAI Responses

    def items(self, body, actions):
        base = {"id": fresh("resp_"), "object": "response", "created_at": int(time.time()), "model": body.get("model"), "output": []}
        streamed, number, output = bool(body.get("stream")), 0, []

        def event(name, **fields):
            nonlocal number
            if streamed:
                self.event({"type": name, "sequence_number": number, **fields}, name)
                number += 1

        if streamed:
            self.stream()
        event("response.created", response={**base, "status": "in_progress"})
        for index, (kind, value) in enumerate(a for a in actions if a[0] != "limit"):
            if kind == "call":
                item = {"type": "function_call", "id": fresh("fc_"), "call_id": fresh("call_"), "name": value[0],
                        "arguments": json.dumps(value[1]), "status": "completed"}
                event("response.output_item.added", output_index=index, item={**item, "arguments": "", "status": "in_progress"})
                event("response.function_call_arguments.done", item_id=item["id"], output_index=index, arguments=item["arguments"])
            elif kind == "think":
                item = {"type": "reasoning", "id": fresh("rs_"), "summary": [{"type": "summary_text", "text": value}]}
                event("response.output_item.added", output_index=index, item={**item, "summary": []})
            else:
                id, said = fresh("msg_"), ""
                start = {"type": "message", "id": id, "role": "assistant", "status": "in_progress", "content": []}
                event("response.output_item.added", output_index=index, item=start)
                empty = {"type": "output_text", "text": "", "annotations": []}
                event("response.content_part.added", item_id=id, output_index=index, content_index=0, part=empty)
                for word in self.words(kind, value):
                    said += word
                    event("response.output_text.delta", item_id=id, output_index=index, content_index=0, delta=word)
                item = {**start, "status": "completed", "content": [{**empty, "text": said}]}
                event("response.output_text.done", item_id=id, output_index=index, content_index=0, text=said)
            output.append(item)
            event("response.output_item.done", output_index=index, item=item)
        limited = any(k == "limit" for k, _ in actions)
        usage = {"input_tokens": 100, "input_tokens_details": {"cached_tokens": 20}, "output_tokens": 10,
                 "output_tokens_details": {"reasoning_tokens": 0}, "total_tokens": 110}
        status = "incomplete" if limited else "completed"
        response = {**base, "status": status, "output": output, "usage": usage}
        if limited:
            response["incomplete_details"] = {"reason": "max_output_tokens"}
        event("response." + status, response=response)
        if not streamed:
            self.answer(200, response)


def fresh(prefix):
    return prefix + os.urandom(12).hex()


if __name__ == "__main__":
    ThreadingHTTPServer.daemon_threads = True
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    print(server.server_address[1], flush=True)
    end = threading.Timer(1800, lambda: os._exit(1))
    end.daemon = True
    end.start()
    sys.stdin.read()
