"""Makes schemathesis' valid requests concern three sessions and the Tasks that they were given, so that they meet something that lives."""

from urllib.parse import quote

import schemathesis

tasks = ["none"]


def session(text):
    return f"issue:acme/widgets#{len(text) % 3 + 1}"


@schemathesis.hook
def before_call(context, case, kwargs):
    method, path = case.operation.method.upper(), case.operation.path
    query, parameters = case.query or {}, case.path_parameters or {}
    if (method, path) == ("POST", "/v1/tasks") and isinstance(case.body, dict):
        # Without what the server cannot have, and mostly without the keys of which the next request has the same again.
        for field in ["worker", "workspace", "scope", "idempotencyKey"]:
            case.body.pop(field, None)
        query.pop("agent", None)
        prompt = case.body.get("prompt", "")
        if len(prompt) % 4 and case.headers:
            case.headers.pop("Idempotency-Key", None)
        # One in eight has a session of its own, which ends with it.
        if len(prompt) % 8:
            case.body["scope"] = {"kind": "Issue", "repository": "acme/widgets", "number": len(prompt) % 3 + 1}
    if "id" in parameters:
        parameters["id"] = quote(session(parameters["id"]), safe="")
    if "name" in parameters:
        parameters["name"] = tasks[-1]
    if "session" in query:
        query["session"] = session(query["session"])
    query.pop("continue", None)


@schemathesis.hook
def after_call(context, case, response):
    if response.status_code == 201:
        tasks.append(response.json()["metadata"]["name"])
