"""What the run may still use."""

from wit_world.imports import budget as host


def remaining(limit):
    """How much is left of a limit, by its name (`fuel`, `host-calls`, `llm-cost`…); None for an unknown name."""
    return host.remaining(limit)
