"""The language of the prompts that scripted agents and the scripted model carry out.

A prompt is plain text with directives in it; what is not a directive is for people. In order:

  {{say: TEXT}}            say something
  {{think: TEXT}}          think it
  {{shell: COMMAND}}       use the shell tool
  {{write: PATH|TEXT}}     use the tool that writes a file
  {{edit: PATH|OLD|NEW}}   use the tool that edits a file; OLD and NEW are whole lines
  {{ask: QUESTION|A|B}}    use the tool that lets a person choose (Claude Code's AskUserQuestion); more questions after ||
  {{plan: A; B}}           use the tool that keeps a plan (Claude Code's TodoWrite)
  {{background: COMMAND}}  start a command that outlives the turn (Claude Code)
  {{after: COMMAND}}       use the shell tool when that is over, in a turn that nobody asked for (Claude Code)
  {{stream: SECONDS}}      say "tick 0 tick 1 ..." for that long
  {{hang}}                 the model's API accepts the request and answers nothing
  {{error: STATUS TIMES}}  the model's API fails so many times (default: always); STATUS "refused" refuses the connection
  {{limit}}                the model stops at its limit of tokens
  {{deaf}}                 ignore interruptions from here on (scripted agents)
  {{noise: TEXT}}          print a line outside the protocol (scripted agents)
  {{exit: CODE}}           end the agent's process (scripted agents)

After the last directive the answer says what the conversation holds, so that a test can tell what is remembered:

  DONE prompts=2 tools=1 earlier=[first 40 characters of each prompt before]
"""
import re

DIRECTIVE = re.compile(r"\{\{\s*([a-z]+)\s*(?::\s*(.*?))?\s*\}\}", re.S)


def steps(prompt):
    """[(directive, argument)] of a prompt."""
    return [(m.group(1), m.group(2) or "") for m in DIRECTIVE.finditer(prompt)]


def question(argument):
    """The input of Claude Code's AskUserQuestion."""
    asked = []
    for part in argument.split("||"):
        text, *labels = part.split("|")
        options = [{"label": label, "description": f"take {label}"} for label in labels]
        asked.append({"question": text, "header": "Choice", "multiSelect": False, "options": options})
    return {"questions": asked}


def plain(prompt):
    """What is left of a prompt without its directives, on one line."""
    return " ".join(DIRECTIVE.sub(" ", prompt).split())


def answer(prompts, tools):
    """The last words of a turn: prompts are all of the conversation, the present one last."""
    earlier = ", ".join(plain(p)[:40] for p in prompts[:-1])
    return f"DONE prompts={len(prompts)} tools={tools} earlier=[{earlier}]"
