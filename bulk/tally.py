"""How many enrolments a look found, and why. Pure."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from bulk.model import Reason, Slice


@dataclass(slots=True)
class Tally:
    """What a look through the tables has counted so far.

    `looked_at` enrolments were read, `found` of them were chosen, each counted once under every reason it has;
    `unjudged` could not be judged.
    """

    looked_at: int = 0
    found: int = 0
    unjudged: int = 0
    reasons: Counter[Reason] = field(default_factory=Counter)

    def add(self, seen: Slice) -> None:
        """Count one slice."""
        self.looked_at += seen.looked_at
        self.found += len(seen.found)
        self.unjudged += len(seen.unjudged)
        for found in seen.found:
            self.reasons.update(found.reasons)

    def as_document(self) -> Mapping[str, object]:
        """Give it for scripts; `reasons` lists those that occurred."""
        return {
            "looked_at": self.looked_at,
            "found": self.found,
            "unjudged": self.unjudged,
            "reasons": {reason.value: self.reasons[reason] for reason in Reason if self.reasons[reason]},
        }
