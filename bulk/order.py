"""What a bulk run was asked to do, as its record keeps it: whoever resumes it does the same. Pure."""

import json
from dataclasses import asdict, dataclass

from bulk.model import Selection

_SELECTION_FIELDS = frozenset(Selection.__dataclass_fields__)


@dataclass(frozen=True, slots=True)
class FileMark:
    """Tells one file from another: its name as it was given, and the SHA-256 of what it holds."""

    name: str
    sha256: str


@dataclass(frozen=True, slots=True)
class Order:
    """What is to be done.

    `file` names the enrolments, None where the tables are looked through. `rate` is the most requests in a second, None
    for as many as fit; `scan_rate` the most enrolments that are looked at in one. `most_given_up` requests may be given
    up before the run stops. `aggregates` says whether these are compared, `reissue` what certificate events ask for,
    `older_than` how long an enrolment is completed before its certificate is missed, in seconds.
    """

    selection: Selection
    file: FileMark | None = None
    rate: float | None = None
    scan_rate: float | None = None
    processes: int = 2
    most_given_up: int = 100
    aggregates: bool = True
    reissue: bool = False
    older_than: float = 3600.0

    @property
    def is_plain(self) -> bool:
        """Say whether every enrolment of the selection is taken, whatever its state."""
        return not self.selection.stuck and not self.selection.missing_certificates


def encode_order(order: Order) -> tuple[str, str]:
    """Give the two texts of a run's record: its selection, and everything else."""
    options = asdict(order)
    selection = {name: value for name, value in options.pop("selection").items() if value}
    return json.dumps(selection, ensure_ascii=False), json.dumps(options, ensure_ascii=False)


def decode_order(selection: str, options: str) -> Order:
    """Read what `encode_order` wrote; what a newer release added to the options is passed over.

    Raises ValueError where the selection says something that this release doesn't know: it would take others.
    """
    chosen = json.loads(selection)
    if unknown := set(chosen) - _SELECTION_FIELDS:
        raise ValueError(f"this release knows no selection by {', '.join(sorted(unknown))}")
    told = {name: value for name, value in json.loads(options).items() if name in Order.__dataclass_fields__}
    file = told.pop("file", None)
    return Order(Selection(**chosen), None if file is None else FileMark(**file), **told)
