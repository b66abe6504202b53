"""What to say about a lead. Needs no host, so plain tests can check it."""


def note(revenue, threshold):
    """A text, if there is anything to say."""
    return f"Expected revenue {revenue:g} is over {threshold:g}." if revenue > threshold else None
