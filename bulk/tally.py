"""How many enrolments a look found, and why. Pure."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from bulk.model import Reason, Slice
from bulk.runs import Run


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

    @classmethod
    def of(cls, run: Run) -> "Tally":
        """Give what a run counted up to its checkpoint."""
        known = {reason.value: reason for reason in Reason}
        reasons = Counter({known[name]: count for name, count in run.reasons.items() if name in known})
        return cls(run.looked_at, run.found, run.unjudged, reasons)

    @property
    def as_kept(self) -> dict[str, object]:
        """Give it as fields of a run's record."""
        reasons = {reason.value: count for reason, count in self.reasons.items()}
        return {"looked_at": self.looked_at, "found": self.found, "unjudged": self.unjudged, "reasons": reasons}

    @property
    def is_whole(self) -> bool:
        """Say whether the reasons of all that were found are known: an older release did not keep them."""
        return sum(self.reasons.values()) >= self.found

    def plus(self, seen: Slice) -> "Tally":
        """Give the count with one slice more."""
        made = replace(self, reasons=Counter(self.reasons))
        made.add(seen)
        return made

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
