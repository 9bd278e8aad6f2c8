"""The records of bulk runs, in the ledger's Redis under the group's prefix (docs/bulk.md).

One process at a time drives a run: it holds a lease, which it renews by saving. ledger/scripts/run_take.lua says what a
record consists of. Counts of requests are kept by the ledger's own steps, so they are right whoever dies.
"""

import json
import re
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field, fields, replace
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

from ledger.connection import LedgerConnection, translated
from ledger.ledger import Identity
from reconciliation.errors import LedgerUnavailable

#: How many runs are remembered, the latest; none for longer than 30 days after it was saved last (lanes.lua).
MOST_KEPT = 100
#: How many runs may be driven at once.
MOST_DRIVEN = 10
#: How long a run is its driver's unless that saves, in seconds.
LEASE = 60.0
# After which part of the lease it is renewed: a look that comes late has time.
_RENEW_AFTER = 0.25
# After which part of the lease that is tried again where the ledger did not answer: each try takes its time.
_TRY_AGAIN_AFTER = 0.05

_RUN_ID = re.compile(r"[0-9A-Za-z-]{1,40}")


class RunRefused(Exception):
    """Raised where a run can't be driven, or no longer; one line that says why and what to do."""


class RunState(StrEnum):
    """How a run stands; one that nobody drives any more though it says that it runs was killed."""

    RUNNING = "running"
    INTERRUPTED = "interrupted"
    FINISHED = "finished"
    FAILED = "failed"
    STOPPED = "stopped"


@dataclass(frozen=True, slots=True)
class Run:
    """A run's record.

    `selection` and `options` are JSON texts that say what it is for and how it was asked for. `checkpoint` is where it
    goes on: the last token, or the line of a file, up to which every request is accepted; None before the first.
    `looked_at`, `found` and `unjudged` count enrolments up to there, `reasons` those found by each reason they had.
    `reason` says why it ended, unless it is finished. Times in ms
    since 1970.
    """

    run_id: str
    selection: str
    options: str
    started_ms: int
    state: RunState = RunState.RUNNING
    ended_ms: int | None = None
    checkpoint: int | None = None
    looked_at: int = 0
    found: int = 0
    reason: str = ""
    unjudged: int = 0
    reasons: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class RunCounts:
    """What became of a run's requests: `collapsed` of those `submitted` joined one that waited.

    `certificates` events were sent for completions that lacked theirs, which takes no request.
    One that was submitted again after an interruption, since it was not open any more, counts again.
    """

    submitted: int = 0
    collapsed: int = 0
    given_up: int = 0
    open: int = 0
    certificates: int = 0

    @property
    def settled(self) -> int:
        """How many ended and were not given up."""
        return max(0, self.submitted - self.given_up - self.open)


@dataclass(frozen=True, slots=True)
class Standing:
    """A run, its counts, and who drives it, '' where nobody does."""

    run: Run
    counts: RunCounts
    driven_by: str

    @property
    def is_left(self) -> bool:
        """Say whether its driver is gone without a word."""
        return self.run.state is RunState.RUNNING and not self.driven_by


def new_run_id(moment: datetime, unique: str) -> str:
    """Make a run's id: the moment, so that ids sort by time, and four characters of a random text."""
    return f"{moment.astimezone(UTC):%Y%m%d-%H%M%S}-{unique[:4]}"


def life_of(identity: Identity) -> str:
    """Name a life of the ledger, as records do."""
    return f"{identity.epoch} {identity.run_id}"


class RunStore:
    """The records of a ledger's runs; every method raises LedgerUnavailable while its Redis does not answer.

    Args:
        connection: the ledger's.
        lease: how long a run is its driver's unless that saves, in seconds.
        is_gone: says of a driver, by its name, whether it has ended for certain.

    """

    def __init__(
        self, connection: LedgerConnection, lease: float = LEASE, is_gone: Callable[[str], bool] = lambda _: False
    ) -> None:
        self._connection = connection
        self._is_gone = is_gone
        self._redis: Any = connection.redis
        self._prefix = connection.prefix
        self.lease = lease
        self._lease_ms = round(lease * 1000)

    def close(self) -> None:
        """Close the connections to Redis."""
        self._connection.close()

    def begin(self, run: Run, token: str, driver: str, life: str) -> "DrivenRun":
        """Make a run and drive it. `token` is this process's own, `driver` names it for people.

        Raises RunRefused where the id is known or wrong, or too many runs are driven.
        """
        if not _RUN_ID.fullmatch(run.run_id):
            raise RunRefused("a run's id is 1 to 40 letters, digits and hyphens")
        return self._take(run.run_id, token, driver, life, run)

    def resume(self, run_id: str, token: str, driver: str, life: str) -> "DrivenRun":
        """Go on with a run. Raises RunRefused where there is none, another process drives it, or it is finished."""
        found = self.read(run_id)
        if found is not None and found.run.state is RunState.FINISHED:
            raise RunRefused(f"run {run_id} is finished: begin a new one")
        return self._take(run_id, token, driver, life, None)

    def list(self) -> list[Standing]:
        """Give the runs that are remembered, the latest first."""
        with translated():
            names = self._redis.zrevrange(self._prefix + "bulk:runs", 0, -1)
        found = (self.read(name.decode()) for name in names)
        return [standing for standing in found if standing is not None]

    def read(self, run_id: str) -> Standing | None:
        """Give a run; None where there is none."""
        with translated(), self._redis.pipeline(transaction=True) as together:
            together.hgetall(f"{self._prefix}bulk:run:{run_id}")
            together.zcard(f"{self._prefix}open:bulk:{run_id}:0")
            together.time()
            values, is_open, (seconds, _) = together.execute()
        told = {name.decode(): value for name, value in values.items()}
        if "record" not in told:
            return None
        is_driven = int(told.get("until", 0)) > int(seconds) * 1000
        by = told.get("by", b"").decode() if is_driven else ""
        return Standing(decode_run(told["record"]), _counts(told, int(is_open)), by)

    def counts(self, run_id: str) -> RunCounts:
        """Count a run's requests."""
        with translated(), self._redis.pipeline(transaction=True) as together:
            together.hmget(f"{self._prefix}bulk:run:{run_id}", *_COUNTED)
            together.zcard(f"{self._prefix}open:bulk:{run_id}:0")
            values, is_open = together.execute()
        return _counts(dict(zip(_COUNTED, values, strict=True)), int(is_open))

    def save(self, run: Run, token: str, *, lets_go: bool) -> None:
        """Save a run's record for its driver. Raises RunRefused where another process drives it, or it is gone."""
        lease = 0 if lets_go else self._lease_ms
        (answer,) = self._connection.run("run_save", [run.run_id, token, lease, encode_run(run)])
        match answer:
            case [b"driven", bytes(by)]:
                raise RunRefused(f"run {run.run_id} is driven by {by.decode()} now: this process leaves it alone")
            case [b"missing"]:
                raise RunRefused(
                    f"the ledger does not know run {run.run_id} any more: it has lost its data. Begin a new run over "
                    "the same selection; what this one has done is found done"
                )

    def _take(
        self, run_id: str, token: str, driver: str, life: str, run: Run | None, replaced: str = ""
    ) -> "DrivenRun":
        record = "" if run is None else encode_run(run)
        bounds = (MOST_DRIVEN, MOST_KEPT)
        arguments: list[str | bytes | int] = [run_id, token, driver, self._lease_ms, life, *bounds, record, replaced]
        (answer,) = self._connection.run("run_take", arguments)
        match answer:
            case [b"taken", bytes(taken), bytes(earlier)]:
                return DrivenRun(self, decode_run(taken), token, life, was_other_life=earlier.decode() != life)
            case [b"driven", bytes(by)] if not replaced and self._is_gone(by.decode()):
                # killed on this host: nobody has to wait for its lease
                return self._take(run_id, token, driver, life, run, by.decode())
            case [b"driven", bytes(by)]:
                raise RunRefused(
                    f"run {run_id} is driven by {by.decode()}; once that process is gone it may be resumed, "
                    f"{self._lease_ms / 1000:g} s later at the latest"
                )
            case [b"known"]:
                raise RunRefused(f"there is a run {run_id} already")
            case [b"many", int(count)]:
                raise RunRefused(f"{count} runs are driven at once, and no more may be: wait for the end of one")
            case _:
                raise RunRefused(f"there is no run {run_id}; `enrolment-reconciliation bulk status` lists them")


class DrivenRun:
    """A run that this process drives.

    Args:
        store: where it is saved.
        run: how it stands.
        token: this process's.
        life: that of the ledger which it was taken in.
        was_other_life: whether it was left in another life of the ledger, so that some of what was accepted last may be
            lost: then a new run over the same selection finds what is missing.
        clock: seconds that never go back.

    """

    def __init__(
        self,
        store: RunStore,
        run: Run,
        token: str,
        life: str,
        *,
        was_other_life: bool,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._store = store
        self._token = token
        self._clock = clock
        self._saved_at = self._kept_at = clock()
        self.run = run
        self.life = life
        self.was_other_life = was_other_life

    def counts(self) -> RunCounts:
        """Count its requests."""
        return self._store.counts(self.run.run_id)

    def keep(self) -> None:
        """Renew the lease where that is due; to be called again and again. Raises RunRefused as `save` does.

        A ledger that is away ends nothing here: a lease that lapses meanwhile stays ours unless somebody else asks.
        """
        now, lease = self._clock(), self._store.lease
        if now - self._saved_at > _RENEW_AFTER * lease and now - self._kept_at > _TRY_AGAIN_AFTER * lease:
            with suppress(LedgerUnavailable):
                self.save()
            self._kept_at = self._clock()

    def save(self, **changes: Any) -> None:
        """Save these changes of the record. Raises RunRefused where another process drives it, or it is gone."""
        run = replace(self.run, **changes)
        self._store.save(run, self._token, lets_go=False)
        self.run, self._saved_at = run, self._clock()

    def end(self, state: RunState, ended_ms: int, reason: str = "") -> None:
        """Save how it ended, and let it go. Raises RunRefused as `save` does."""
        self.run = replace(self.run, state=state, ended_ms=ended_ms, reason=reason)
        self._store.save(self.run, self._token, lets_go=True)

    def go_on(self) -> None:
        """Note that it runs again. Raises RunRefused as `save` does."""
        self.save(state=RunState.RUNNING, ended_ms=None, reason="")


_COUNTED = ("submitted", "collapsed", "given_up", "certificates")
_FIELDS = frozenset(it.name for it in fields(Run))


def encode_run(run: Run) -> str:
    """Write a record down."""
    return json.dumps(asdict(run), ensure_ascii=False)


def decode_run(text: bytes) -> Run:
    """Read a record; what a newer release added is passed over."""
    told = {name: value for name, value in json.loads(text).items() if name in _FIELDS}
    return Run(**{**told, "state": RunState(told["state"])})


def _counts(told: dict[str, Any], is_open: int) -> RunCounts:
    submitted, collapsed, given_up, certificates = (int(told.get(name) or 0) for name in _COUNTED)
    return RunCounts(submitted, collapsed, given_up, is_open, certificates)
