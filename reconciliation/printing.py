"""Text that anybody may have made up, made fit for a terminal, a log line or a page. Pure."""

from collections.abc import Sequence


def printable(text: str) -> str:
    r"""Make control characters visible: an id from a topic must not steer the terminal that shows it.

    Line breaks, colours, marks of a writing direction and halves of surrogate pairs become escapes such as \n and
    \x1b; everything that is printed as a character stays.
    """
    return "".join(character if character.isprintable() else ascii(character)[1:-1] for character in text)


def some_of(names: Sequence[str], most: int) -> str:
    """Name the first of these, at most so many, and say how many more there are: `a, b and 3 more`."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more
