"""How long things take, as Prometheus histograms (docs/metrics.md)."""

import time
from collections.abc import Iterable, Sequence
from enum import StrEnum
from types import TracebackType

from prometheus_client import CollectorRegistry, Histogram

from reconciliation.counters import PREFIX


class Stage(StrEnum):
    """The stages of a round of the bridge, and of a group of requests in a worker."""

    ACCEPT = "accept"
    SEND = "send"
    COMMIT = "commit"
    SWEEP = "sweep"
    CLAIM = "claim"
    LOOK = "look"
    RELATIONS = "relations"
    SEARCH = "search"
    AGGREGATES = "aggregates"
    DEBTS = "debts"
    ENROLMENTS = "enrolments"
    ANNOUNCE = "announce"
    SETTLE = "settle"


BRIDGE_STAGES = (Stage.ACCEPT, Stage.SEND, Stage.COMMIT, Stage.SWEEP)
WORKER_STAGES = tuple(stage for stage in Stage if stage not in BRIDGE_STAGES)


class RequestEnd(StrEnum):
    """How a request ended for good."""

    DONE = "done"
    FAILED = "failed"


#: Upper bounds in seconds: from a round trip on a quiet system to a server that is waited for.
_STAGE_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 120.0)
#: From a lone request on a quiet system to one that waited for days.
_AGE_BUCKETS = (
    *(0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 900.0, 3600.0),
    *(4 * 3600.0, 24 * 3600.0, 3 * 24 * 3600.0, 7 * 24 * 3600.0),
)

#: A stage and the seconds that it took, for `Stages.add` in another process.
Timed = tuple[str, float]


class Stages:
    """Times the stages of one part of the program. Safe for use by several threads.

    Args:
        registry: where the histogram is registered.
        stages: those of this part; each is shown from the start.
        kept: where given, every duration is also appended here, for another process; keep it short-lived.

    """

    def __init__(self, registry: CollectorRegistry, stages: Iterable[Stage], kept: list[Timed] | None = None) -> None:
        histogram = Histogram(
            PREFIX + "stage_seconds",
            "How long a stage took for a whole group of requests",
            ["stage"],
            registry=registry,
            buckets=_STAGE_BUCKETS,
        )
        self._by_stage = {stage: histogram.labels(stage.value) for stage in stages}
        self._kept = kept

    def time(self, stage: Stage) -> "_Timer":
        """Time the block, also one that raises."""
        return _Timer(self, stage)

    def took(self, stage: Stage, seconds: float) -> None:
        """Count one passage of a stage."""
        self._by_stage[stage].observe(seconds)
        if self._kept is not None:
            self._kept.append((stage.value, seconds))

    def add(self, timed: Iterable[Timed]) -> None:
        """Count what another process has timed; stages that this release does not know are passed over."""
        for name, seconds in timed:
            if name in self._by_stage:
                self.took(Stage(name), float(seconds))


class _Timer:
    """One passage of a stage. A class and no generator: it is a third of the time."""

    __slots__ = ("_began", "_stage", "_stages")

    def __init__(self, stages: Stages, stage: Stage) -> None:
        self._stages = stages
        self._stage = stage
        self._began = 0.0

    def __enter__(self) -> None:
        self._began = time.perf_counter()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stages.took(self._stage, time.perf_counter() - self._began)


class RequestAges:
    """How old requests are when they end, from their own Kafka timestamp on."""

    def __init__(self, registry: CollectorRegistry) -> None:
        histogram = Histogram(
            PREFIX + "request_age_seconds",
            "From a request's Kafka timestamp to its end; clicks that joined it are not counted again",
            ["outcome"],
            registry=registry,
            buckets=_AGE_BUCKETS,
        )
        self._by_end = {end: histogram.labels(end.value) for end in RequestEnd}

    def ended(self, end: RequestEnd, ages: Sequence[float]) -> None:
        """Count requests that ended so, by their ages in seconds."""
        histogram = self._by_end[end]
        for age in ages:
            histogram.observe(age)
