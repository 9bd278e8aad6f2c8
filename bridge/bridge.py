"""The bridge's round: take, sort, report what can't be a request, accept, send, commit, sweep.

Each step may be repeated after a failure, and a round that fails is tried again as a whole. So a bridge that is killed
between any two steps loses nothing: what is not committed is read again, and the ledger knows what it has
(docs/reliability.md).
"""

import time
from collections.abc import Callable
from dataclasses import dataclass

import structlog

from bridge.dispatch import BrokerUnavailable, Dispatcher
from bridge.health import BridgeHealth
from bridge.intake import Backlog, sort_record
from bridge.kafka_input import KafkaInput, KafkaUnavailable
from bridge.metrics import BridgeMetrics
from bridge.pacing import RESUME_SHARE, Hold, Pacing
from bridge.positions import Positions, is_to_rewind
from bridge.queue_watch import QueueWatch
from bridge.sweep import Sweeper
from ledger.ledger import Identity, Ledger
from reconciliation.durations import Stage
from reconciliation.errors import LedgerOutOfMemory, LedgerUnavailable
from reconciliation.failed_topic import FailurePlace
from reconciliation.model import SyncRequest
from reconciliation.reminder import Reminder

log = structlog.get_logger(__name__)

#: How long one look at Kafka waits for a first record, in seconds.
POLL_WAIT = 0.2
#: How often the marks of idle partitions are renewed, in seconds: less is read again when Redis forgets.
RENEW_INTERVAL = 10.0


@dataclass(frozen=True, slots=True)
class Parts:
    """What the bridge works with; `batch_sync` is as `requests.parse` takes it."""

    ledger: Ledger
    dispatcher: Dispatcher
    sweeper: Sweeper
    failed_topic: FailurePlace
    metrics: BridgeMetrics
    health: BridgeHealth
    queue_watch: QueueWatch
    batch_sync: bool = False


class _Held(Exception):
    """Ends a round early: `hold` says why."""

    def __init__(self, hold: Hold, detail: str) -> None:
        super().__init__(detail)
        self.hold = hold


def _taken(request: SyncRequest) -> _Held:
    origin = request.record.origin
    return _Held(
        Hold.OFFSET_TAKEN,
        f"partition {origin.partition}, offset {origin.offset}: the topic was made anew or cut back, and the request "
        "that had this offset before is still open; the record is accepted when that one ends "
        "(`enrolment-reconciliation pending` shows why it waits)",
    )


class Bridge:
    """One bridge. All of it runs in the thread that calls `run`.

    Args:
        parts: what it works with.
        make_input: makes the input, given what is to be called when partitions leave.
        poll_records: how many records it holds at most.
        max_open: the ledger's bound.

    """

    def __init__(
        self,
        parts: Parts,
        make_input: Callable[[Callable[[list[int], bool], None]], KafkaInput],
        poll_records: int,
        max_open: int,
    ) -> None:
        self._parts = parts
        self._stages = parts.metrics.stages
        self._poll_records = poll_records
        self._max_open = max_open
        self._backlog = Backlog()
        self._positions = Positions()
        self._pacing = Pacing()
        self._reminder = Reminder(first=30.0)
        self._identity: Identity | None = None
        #: Whether sweeps were held back for the outage of the ledger that goes on.
        self._is_put_off = False
        self._renew_at = 0.0
        self._input = make_input(self._leave)

    @property
    def health(self) -> BridgeHealth:
        """What this bridge says of its health."""
        return self._parts.health

    def run(self, is_stopped: Callable[[], bool]) -> None:
        """Work until `is_stopped` says so, then leave the group in order.

        Raises SettingsError when the ledger's Redis may throw entries away.
        """
        self._parts.queue_watch.start()
        try:
            while not is_stopped():
                self._take()
                now = time.monotonic()
                self._parts.health.turned(now, self._input.heard_at)
                if self._pacing.may_try(now) and self._has_work(now):
                    self._round()
        finally:
            self._input.close()
            self._parts.dispatcher.close()
            self._parts.queue_watch.close()

    def _take(self) -> None:
        records = self._input.take(max(1, self._poll_records - len(self._backlog)), POLL_WAIT)
        if not records:
            return
        now_ms = time.time_ns() // 1_000_000
        skipped = 0
        for record in records:
            repeated = self._positions.is_repeated(record.origin.partition, record.origin.offset)
            work = sort_record(record, repeated, now_ms, batch_sync=self._parts.batch_sync)
            skipped += work is None
            self._backlog.add(record, work)
        self._parts.metrics.counters.total_events.inc(len(records))
        self._parts.metrics.counters.skipped_events.inc(skipped)
        log.debug("records taken", records=len(records), skipped=skipped)

    def _has_work(self, now: float) -> bool:
        return (
            len(self._backlog) > 0
            or self._pacing.hold is not None
            or bool(self._input.resting())
            or self._parts.sweeper.is_due(now)
        )

    def _round(self) -> None:
        try:
            self._work()
        except LedgerOutOfMemory as error:
            # no outage: sweeps go on, and what they send frees memory
            self._trouble(Hold.LEDGER_FULL, str(error))
        except LedgerUnavailable as error:
            self._trouble(Hold.LEDGER_AWAY, str(error))
        except BrokerUnavailable as error:
            self._trouble(Hold.BROKER_AWAY, str(error))
        except KafkaUnavailable as error:
            self._trouble(Hold.KAFKA_AWAY, str(error))
        except _Held as held:
            self._trouble(held.hold, str(held))
        else:
            self._well()
        self._parts.health.ended_round(self._pacing.hold)

    def _work(self) -> None:
        ledger = self._parts.ledger
        if self._pacing.hold is not Hold.LEDGER_AWAY:
            self._is_put_off = False
        try:
            identity = ledger.verify()
        except LedgerUnavailable:
            self._is_put_off = False
            raise
        # only now: it may have hung for long before it answered
        now = time.monotonic()
        if self._identity is not None and identity != self._identity:
            self._read_again()
        elif self._pacing.hold is Hold.LEDGER_AWAY and not self._is_put_off:
            # once an outage: where accepting alone fails, sweeps go on
            self._parts.sweeper.put_off(now)
            self._is_put_off = True
        elif self._identity is None:
            self._parts.sweeper.begin(now, identity.uptime)
        self._identity = identity
        if self._parts.sweeper.is_due(now):
            with self._stages.time(Stage.SWEEP):
                self._parts.sweeper.sweep(now)
            self._look_around()
        self._begin_partitions(identity)
        unconfirmed = self._report_failures()
        held = self._accept(identity.stopped)
        self._positions.advance(self._backlog.shed())
        self._commit(now)
        if unconfirmed is not None:
            raise _Held(Hold.FAILED_TOPIC, unconfirmed)
        if held is not None:
            raise held

    def _look_around(self) -> None:
        """Show what the ledger and the input look like now."""
        ledger, gauges = self._parts.ledger, self._parts.metrics.gauges
        gauges.open_requests.set(ledger.open_count())
        gauges.unpaused_entries.set(ledger.unpaused_count())
        gauges.bulk.show(ledger.open_of_runs())
        oldest_ms = ledger.oldest_open_ms()
        # the ledger's clock is Redis': it may be ahead
        gauges.oldest_open.set(0 if oldest_ms is None else max(0, time.time() - oldest_ms / 1000))
        gauges.failures_held.set(ledger.failures_held_ms() > 0)
        gauges.lag.set(self._input.lag())

    def _read_again(self) -> None:
        # what Redis lost may be anything since the last commit's oldest open offset: begin every partition anew
        log.warning("the ledger's Redis restarted or lost its data, or a rewind was ordered: requests are read again")
        self._backlog.drop(self._positions.partitions())
        self._positions.drop(self._positions.partitions())
        self._input.rest()
        self._parts.sweeper.put_off(time.monotonic())

    def _begin_partitions(self, identity: Identity) -> None:
        resting = self._input.resting()
        if not resting:
            return
        for partition, committed in self._input.committed(resting).items():
            rewound = self._rewound(partition) if is_to_rewind(committed, identity) else None
            start = self._positions.begin(partition, committed, identity, self._input.bounds(partition), rewound)
            if self._positions.goes_back(partition):
                log.warning(
                    "going back to where an operator wants it"
                    if rewound is not None
                    else "the ledger is another than at the last commit: going back to what was open then",
                    partition=partition,
                    committed=committed.offset,
                    start=start,
                )
            self._input.begin(partition, start)

    def _rewound(self, partition: int) -> int | None:
        since_ms = self._parts.ledger.rewind_since_ms()
        return None if since_ms is None else self._input.offset_at(partition, since_ms)

    def _report_failures(self) -> str | None:
        """Send failed events for what can't be a request; gives the reason when Kafka did not confirm all."""
        failures = self._backlog.failures()
        if not failures:
            return None
        reports = self._parts.failed_topic.send(failures)
        confirmed = [record for (record, _), report in zip(failures, reports, strict=True) if report is None]
        self._backlog.done(confirmed)
        return next((str(report) for report in reports if report is not None), None)

    def _accept(self, stopped: str) -> _Held | None:
        """Bring the requests in hand into the ledger and to the broker; says why where not all of them came in.

        `stopped` says why none may come in, '' where they may.
        """
        if stopped:
            return _Held(Hold.OPERATOR, f"{stopped}; `enrolment-reconciliation resume` goes on")
        requests = self._backlog.requests()
        if not requests:
            return None
        ledger = self._parts.ledger
        if (left_ms := ledger.failures_held_ms()) > 0:
            return _Held(
                Hold.TOO_MANY_FAILURES,
                f"failures.max.per.minute; tried again in {left_ms / 1000:.0f} s. The workers' log and failed topic "
                "tell why they fail; once that is mended, `enrolment-reconciliation resume` goes on at once",
            )
        full = _Held(Hold.LEDGER_FULL, f"{self._max_open} requests are open (ledger.max.open)")
        if self._pacing.hold is Hold.LEDGER_FULL and ledger.occupancy().counted > RESUME_SHARE * self._max_open:
            return full
        with self._stages.time(Stage.ACCEPT):
            acceptance = ledger.accept(requests)
        # after a failure here the whole list is accepted again, which gives the same tickets
        with self._stages.time(Stage.SEND):
            self._parts.dispatcher.send(acceptance.tickets)
        self._backlog.done([request.record for request in requests[: acceptance.accepted]])
        log.debug("requests accepted", requests=acceptance.accepted, collapsed=acceptance.collapsed)
        if acceptance.taken:
            return _taken(requests[acceptance.accepted])
        # one that was stopped since it was asked is told why in the next round
        return full if acceptance.accepted < len(requests) and not acceptance.stopped else None

    def _commit(self, now: float) -> None:
        renew = now >= self._renew_at
        if self._identity is None or not (renew or self._positions.is_behind(self._identity)):
            return
        self._renew_at = now + RENEW_INTERVAL if renew else self._renew_at
        with self._stages.time(Stage.COMMIT):
            self._commit_behind(self._identity, renew=renew)

    def _commit_behind(self, identity: Identity, *, renew: bool) -> None:
        ledger = self._parts.ledger
        oldest = {
            partition: ledger.oldest_open(self._input.topic, partition) for partition in self._positions.partitions()
        }
        # asked afterwards: the offsets above were told by the life of the ledger that the mark names
        if ledger.verify() != identity:
            return
        self._positions.committed(self._input.commit(self._positions.due(identity, oldest, renew)))

    def _leave(self, partitions: list[int], lost: bool) -> None:
        if not lost and self._pacing.hold is None:
            try:
                self._commit(time.monotonic())
            except LedgerUnavailable as error:
                log.info("nothing more is committed: whoever is next reads it again", error=str(error))
        self._backlog.drop(partitions)
        self._positions.drop(partitions)

    def _trouble(self, hold: Hold, detail: str) -> None:
        now = time.monotonic()
        if self._pacing.hold is not hold:
            self._reminder.reset()
        if self._reminder.due(hold, now):
            tell = log.error if hold is Hold.TOO_MANY_FAILURES else log.warning
            tell("paused, and tried again until it goes", reason=str(hold), detail=detail)
        self._pacing.trouble(hold, now)
        self._input.hold()
        self._parts.metrics.gauges.held(hold)

    def _well(self) -> None:
        if self._pacing.hold is None:
            self._parts.metrics.gauges.progressed()
            return
        try:
            self._input.release()
        except KafkaUnavailable as error:
            self._trouble(Hold.KAFKA_AWAY, str(error))
            return
        ended = self._pacing.well(time.monotonic())
        self._reminder.reset()
        self._parts.metrics.gauges.held(None)
        self._parts.metrics.gauges.progressed()
        if ended is not None:
            log.info("resumed", reason=str(ended.hold), seconds=round(ended.lasted, 1))
