"""What operators paused: everything, a course or a batch, or acceptance alone while the ledger is drained. Pure."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime

from reconciliation.model import EnrolmentKey

#: Nothing is accepted and nothing attempted.
EVERYTHING = "all"
#: Nothing is accepted; what is open goes on.
DRAIN = "drain"

_COURSE = "course:"
_BATCH = "batch:"

#: How many pauses there may be at once.
MOST_PAUSES = 100


def course_scope(course_id: str) -> str:
    """Name the pause of a course."""
    return _COURSE + course_id


def batch_scope(batch_id: str) -> str:
    """Name the pause of a batch."""
    return _BATCH + batch_id


@dataclass(frozen=True, slots=True)
class Pause:
    """A pause: of what, since when (ms since 1970), and the reason that was given, or ''."""

    scope: str
    since_ms: int
    reason: str

    @property
    def what(self) -> str:
        """Say what is paused."""
        if self.scope == EVERYTHING:
            return "everything"
        if self.scope == DRAIN:
            return "acceptance, for a drain"
        kind, _, name = self.scope.partition(":")
        return f"{kind} {name}"

    def __str__(self) -> str:
        since = datetime.fromtimestamp(self.since_ms / 1000, UTC).isoformat(timespec="seconds")
        return f"{self.what} is paused since {since}{f': {self.reason}' if self.reason else ''}"

    def keeps_back(self, enrolment: EnrolmentKey) -> bool:
        """Say whether no attempt of this enrolment begins meanwhile."""
        return self.scope in (EVERYTHING, course_scope(enrolment.course_id), batch_scope(enrolment.batch_id))


def decode_pause(scope: bytes | str, value: bytes | None) -> Pause | None:
    """Read what ledger/scripts/pause.lua wrote for a scope; None where it is over."""
    since, _, reason = (value or b"").decode(errors="replace").partition(" ")
    if not since.isdigit():
        return None
    return Pause(scope.decode(errors="replace") if isinstance(scope, bytes) else scope, int(since), reason)


def acceptance_stop(pauses: Iterable[Pause | None]) -> str:
    """Say in one line why nothing is accepted, '' where it is."""
    return "; ".join(str(pause) for pause in pauses if pause is not None and pause.scope in (EVERYTHING, DRAIN))
