"""Text that anybody may have made up, made fit for a terminal, a log line or a page. Pure."""


def printable(text: str) -> str:
    r"""Make control characters visible: an id from a topic must not steer the terminal that shows it.

    Line breaks, colours, marks of a writing direction and halves of surrogate pairs become escapes such as \n and
    \x1b; everything that is printed as a character stays.
    """
    return "".join(character if character.isprintable() else ascii(character)[1:-1] for character in text)
