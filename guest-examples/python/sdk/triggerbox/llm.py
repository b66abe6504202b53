"""Asking a language model. Provider, key, prices and budgets are the host's; raises `Unavailable`
(`llm-not-configured`) while there is no provider."""

import json

from wit_world.imports import llm as host
from wit_world.imports.llm import Completion, Finish, Tool, ToolCall, ToolResult, Usage

from .errors import fallible

host_complete = fallible(host.complete)


def system(text):
    """Standing instructions."""
    return host.Message_System(text)


def user(text):
    """What is asked."""
    return host.Message_User(text)


def assistant(text, calls=()):
    """What the model said, and the tools it asked for."""
    return host.Message_AssistantCalls((text, list(calls))) if calls else host.Message_Assistant(text)


def tool_results(results):
    """The answers to the tools that the model asked for."""
    return host.Message_ToolResults(list(results))


def tool(name, description, parameters):
    """Something the model may ask for; `parameters` is a JSON Schema of the arguments."""
    return Tool(name, description, json.dumps(parameters))


def result(call, content, *, is_error=False):
    """The answer to one tool call."""
    return ToolResult(call.id, content, is_error)


def complete(messages, *, model=None, tools=(), schema=None, temperature=None, max_tokens=None):
    """One completion. With `schema`, a JSON Schema, the answer is JSON that satisfies it; the host checks."""
    schema = None if schema is None else json.dumps(schema)
    return host_complete(host.Request(model, list(messages), list(tools), schema, temperature, max_tokens))


def ask(question, **options):
    """One question, one answer; with `schema`, as data."""
    answer = complete([user(question)], **options).text
    return json.loads(answer) if options.get("schema") is not None else answer
