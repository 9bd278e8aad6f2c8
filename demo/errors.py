"""What can end a demonstration early."""

from dataclasses import dataclass


@dataclass(slots=True)
class DemoError(Exception):
    """Raised when the demonstration can't go on: `reason` says why, `next_step` what the reader can do about it."""

    reason: str
    next_step: str

    def __str__(self) -> str:
        return one_line(self.reason, self.next_step)


def one_line(reason: str, next_step: str) -> str:
    """Put what went wrong and what to do about it on one line."""
    text = " ".join(reason.split())
    return f"{text}{'' if text.endswith('.') else '.'} Next step: {next_step}"
