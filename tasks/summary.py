"""How a message's entries ended."""

from dataclasses import dataclass

from tasks.outcomes import Ended, Ending


@dataclass(frozen=True, slots=True)
class Summary:
    """How a message's entries ended.

    `done` counts requests that are done, `stale` those that were another attempt's. `ended` says of each that this
    attempt ended how; an attempt that lost its claim at the end is in none of them.
    """

    done: int = 0
    stale: int = 0
    ended: tuple[Ended, ...] = ()

    def __add__(self, other: "Summary") -> "Summary":
        return Summary(self.done + other.done, self.stale + other.stale, self.ended + other.ended)

    def reasons(self, outcome: Ending) -> tuple[str, ...]:
        """Give, for operators, why requests ended so, without any learner's id."""
        return tuple(it.reason for it in self.ended if it.outcome is outcome)

    def codes(self, outcome: Ending) -> tuple[str, ...]:
        """Give the error codes with which requests ended so."""
        return tuple(it.code for it in self.ended if it.outcome is outcome)
