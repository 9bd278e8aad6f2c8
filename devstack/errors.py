"""What can go wrong with the local servers, each with the next step to take."""

from dataclasses import dataclass


@dataclass(slots=True)
class DevstackError(Exception):
    """Raised when a local server, or something that it needs, can't be had.

    `server` names the part ("kafka", "cassandra", "redis", "java", "stack"), `reason` is one sentence, `next_step`
    tells the reader what to do about it, and `log` is the end of the server's log (empty when it wrote none).
    """

    server: str
    reason: str
    next_step: str
    log: str = ""

    def __str__(self) -> str:
        text = f"{self.server}: {self.reason}\nNext step: {self.next_step}"
        return f"{text}\nThe end of its log:\n{self.log}" if self.log else text


class StartCancelledError(Exception):
    """Raised in a server's start when another server of the same stack failed, so that nobody waits for it."""
