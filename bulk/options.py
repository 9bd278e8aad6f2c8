"""How a scan goes about it."""

from dataclasses import dataclass
from enum import Enum

from cassandra import ConsistencyLevel


class Consistency(Enum):
    """How many replicas a page of a scan is read from; what was found is read afresh at LOCAL_QUORUM either way.

    With LOCAL_ONE a replica that lags may hide an enrolment; LOCAL_QUORUM misses nothing that was written so.
    """

    LOCAL_QUORUM = ConsistencyLevel.LOCAL_QUORUM
    LOCAL_ONE = ConsistencyLevel.LOCAL_ONE


@dataclass(frozen=True, slots=True)
class ScanOptions:
    """How a scan goes about it.

    `processes` read side by side. `most_per_second` bounds the enrolments that all of them look at in a second, None
    leaves it to the servers; an aggregate row counts as a fifth of one. `aggregates` says whether aggregates are
    compared; they are spilled to `folder` (None: the system's folder for temporary files), 24 bytes a row.
    `patience` is how long a server may be away before the scan gives up, in seconds. `certificate_older_than_ms` is how
    long an enrolment is completed before its certificate is missed, in milliseconds. The pages are in rows,
    `slice_size` is in enrolments.
    """

    processes: int = 2
    most_per_second: float | None = None
    aggregates: bool = True
    folder: str | None = None
    patience: float = 300.0
    certificate_older_than_ms: int = 3_600_000
    consistency: Consistency = Consistency.LOCAL_QUORUM
    enrolments_a_page: int = 500
    consumption_a_page: int = 2_000
    aggregates_a_page: int = 1_000
    slice_size: int = 4_000
