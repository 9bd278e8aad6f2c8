"""How a message's entries ended."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Summary:
    """How a message's entries ended: counts, and for operators the reasons, without any learner's id."""

    done: int = 0
    stale: int = 0
    retried: tuple[str, ...] = ()
    waiting: tuple[str, ...] = ()
    given_up: tuple[str, ...] = ()

    def __add__(self, other: "Summary") -> "Summary":
        return Summary(
            self.done + other.done,
            self.stale + other.stale,
            self.retried + other.retried,
            self.waiting + other.waiting,
            self.given_up + other.given_up,
        )
