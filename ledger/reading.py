"""Looks at the ledger without changing anything, for people who ask what became of a request."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ledger.connection import LedgerConfig, LedgerConnection, translated
from ledger.entries import decode_enrolment, decode_failure, enrolment_field
from ledger.ledger import Identity
from ledger.pauses import Pause, decode_pause
from reconciliation.model import EnrolmentKey, FinalFailure, Origin

# Not the event itself: it may be large.
_FIELDS = (
    "state",
    "enrolment",
    "request",
    "requested",
    "attempts",
    "waits",
    "crashes",
    "reason",
    "accepted",
    "owed",
    "failure",
    "repeated",
)


@dataclass(frozen=True, slots=True)
class OpenEntry:
    """One entry as it stands; `due_ms` is when the sweep looks at it next, all times are ms since 1970.

    `origin` is the place of the request that the entry was made for. `attempts`, `waits` and `crashes` are what it has
    behind it, `reason` why it waits, `owed_ms` a completedon that is recorded as owed, `failure` a final failure whose
    event has not left yet. `clicks` counts the requests that end with it, `paused` says by what pause it is kept back.
    What an entry lacks, or another release writes otherwise, is None, 0 or empty.
    """

    entry_id: str
    state: str
    origin: Origin | None
    attempts: int
    waits: int
    crashes: int
    reason: str
    accepted_ms: int | None
    due_ms: int | None
    owed_ms: int | None
    failure: FinalFailure | None
    repeated: bool
    clicks: int = 1
    paused: str = ""


class LedgerReader:
    """Asks a consumer group's ledger; every method raises LedgerUnavailable when its Redis does not answer."""

    def __init__(self, config: LedgerConfig) -> None:
        self._connection = LedgerConnection(config)
        self._redis = self._connection.redis
        self._prefix = self._connection.prefix

    def close(self) -> None:
        """Close the connections to Redis."""
        self._connection.close()

    def life(self) -> Identity | None:
        """Say which life of the ledger this is; None where it holds nothing yet, or lost what it held."""
        with translated(), self._redis.pipeline(transaction=False) as together:
            together.get(self._prefix + "epoch")
            together.info("server")
            epoch, server = together.execute()
        return None if epoch is None else Identity(epoch.decode(), str(server["run_id"]))

    def open_offsets(self, topic: str, partition: int, first: int, last: int) -> set[int]:
        """List the offsets from `first` to `last` whose requests are accepted and not settled."""
        with translated():
            found: Any = self._redis.zrangebyscore(self._open_key(topic, partition), first, last)
        return {int(offset) for offset in found}

    def entries(self, entry_ids: Iterable[str]) -> dict[str, OpenEntry]:
        """Give those of these entries that are open, by their ids."""
        ids = list(entry_ids)
        with translated(), self._redis.pipeline(transaction=False) as together:
            together.hgetall(self._prefix + "paused")
            for entry_id in ids:
                together.hmget(f"{self._prefix}entry:{entry_id}", *_FIELDS)
                together.zscore(self._prefix + "due", entry_id)
                together.llen(f"{self._prefix}also:{entry_id}")
            paused, *answers = together.execute()
        found = (decode_pause(scope, value) for scope, value in paused.items())
        pauses = [pause for pause in found if pause is not None]
        entries = {}
        for entry_id, values, due, also in zip(ids, answers[::3], answers[1::3], answers[2::3], strict=True):
            fields = {name: value for name, value in zip(_FIELDS, values, strict=True) if value is not None}
            if fields:
                # each request that joined stands there with two items, its partition's key and its offset
                entries[entry_id] = _read(entry_id, fields, due, 1 + also // 2, pauses)
        return entries

    def of_enrolment(self, enrolment: EnrolmentKey) -> list[OpenEntry]:
        """Give what is open for an enrolment: the entry whose attempt runs, and the one that waits."""
        return list(self.entries(self._ids_of(enrolment)).values())

    def is_paid(self, mid: str) -> bool:
        """Say whether the announcement under this mid is remembered as sent."""
        with translated():
            return bool(self._redis.exists(f"{self._prefix}paid:{mid}"))

    def joined(self, enrolment: EnrolmentKey, origin: Origin) -> OpenEntry | None:
        """Find the open entry of this enrolment that the request at this place collapsed into."""
        ids = self._ids_of(enrolment)
        with translated():
            place = (self._open_key(origin.topic, origin.partition).encode(), str(origin.offset).encode())
            for entry_id in ids:
                also: Any = self._redis.lrange(f"{self._prefix}also:{entry_id}", 0, -1)
                if place in zip(also[::2], also[1::2], strict=False):
                    return self.entries([entry_id]).get(entry_id)
        return None

    def _ids_of(self, enrolment: EnrolmentKey) -> list[str]:
        field = enrolment_field(enrolment)
        with translated(), self._redis.pipeline(transaction=False) as together:
            together.hget(self._prefix + "running", field)
            together.hget(self._prefix + "waiting", field)
            return list(dict.fromkeys(found.decode() for found in together.execute() if found is not None))

    def _open_key(self, topic: str, partition: int) -> str:
        return f"{self._prefix}open:{topic}:{partition}"


def _read(
    entry_id: str, fields: Mapping[str, bytes], due: float | None, clicks: int, pauses: Sequence[Pause]
) -> OpenEntry:
    return OpenEntry(
        entry_id=entry_id,
        state=_text(fields, "state"),
        origin=_origin(fields),
        attempts=_number(fields, "attempts") or 0,
        waits=_number(fields, "waits") or 0,
        crashes=_number(fields, "crashes") or 0,
        reason=_text(fields, "reason"),
        accepted_ms=_number(fields, "accepted"),
        due_ms=None if due is None else round(due),
        owed_ms=_number(fields, "owed"),
        failure=_failure(fields),
        repeated=fields.get("repeated") == b"1",
        clicks=clicks,
        paused="" if fields.get("state") == b"claimed" else _paused(fields, pauses),
    )


def _paused(fields: Mapping[str, bytes], pauses: Sequence[Pause]) -> str:
    try:
        enrolment = decode_enrolment(fields["enrolment"])
    except (KeyError, ValueError, TypeError):
        return ""
    return next((f"{pause.what} is paused" for pause in pauses if pause.keeps_back(enrolment)), "")


def _text(fields: Mapping[str, bytes], name: str) -> str:
    return fields.get(name, b"").decode(errors="replace")


def _number(fields: Mapping[str, bytes], name: str) -> int | None:
    try:
        return int(fields.get(name, b""))
    except ValueError:
        return None


def _origin(fields: Mapping[str, bytes]) -> Origin | None:
    try:
        topic, partition, offset, *_ = json.loads(fields.get("request", b""))
        return Origin(str(topic), int(partition), int(offset), _number(fields, "requested") or 0)
    except (ValueError, TypeError):
        return None


def _failure(fields: Mapping[str, bytes]) -> FinalFailure | None:
    try:
        return decode_failure(fields["failure"]) if "failure" in fields else None
    except (ValueError, TypeError):
        return None
