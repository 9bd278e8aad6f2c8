"""Looks into the ledger for one enrolment, and changes nothing (docs/reliability.md, an entry's life)."""

from typing import Any

from ledger.connection import LedgerConfig, LedgerConnection, translated
from ledger.entries import decode_failure, enrolment_field
from reconciliation.explanation_facts import OpenRequest
from reconciliation.model import EnrolmentKey

# Not the event itself: it may be large.
_FIELDS = (
    "state",
    "attempts",
    "waits",
    "crashes",
    "reason",
    "requested",
    "accepted",
    "owed",
    "failure",
)


class Inspection:
    """Reads the ledger of one consumer group.

    Args:
        config: where and whose.

    """

    def __init__(self, config: LedgerConfig) -> None:
        self._connection = LedgerConnection(config)
        self._redis = self._connection.redis
        self._prefix = self._connection.prefix

    def close(self) -> None:
        """Close the connections to Redis."""
        self._connection.close()

    def open_requests(self, enrolment: EnrolmentKey) -> tuple[OpenRequest, ...]:
        """Give the requests that are open for an enrolment: one whose attempt runs, and one that waits.

        Raises LedgerUnavailable.
        """
        field = enrolment_field(enrolment)
        with translated():
            found: list[Any] = [self._redis.hget(self._prefix + name, field) for name in ("running", "waiting")]
            ids = dict.fromkeys(value.decode() for value in found if isinstance(value, bytes))
            entries = [self._entry(entry_id) for entry_id in ids]
        return tuple(entry for entry in entries if entry is not None)

    def is_paid(self, mid: str) -> bool:
        """Say whether the announcement under this mid is remembered as sent. Raises LedgerUnavailable."""
        with translated():
            return bool(self._redis.exists(f"{self._prefix}paid:{mid}"))

    def _entry(self, entry_id: str) -> OpenRequest | None:
        with self._redis.pipeline(transaction=False) as together:
            together.hmget(f"{self._prefix}entry:{entry_id}", *_FIELDS)
            together.zscore(f"{self._prefix}due", entry_id)
            together.llen(f"{self._prefix}also:{entry_id}")
            values, due, also = together.execute()
        fields = {name: value for name, value in zip(_FIELDS, values, strict=True) if value is not None}
        if "state" not in fields:
            # it was settled meanwhile
            return None
        failure = fields.get("failure")
        return OpenRequest(
            entry_id=entry_id,
            state=fields["state"].decode(),
            attempts=int(fields.get("attempts", 0)),
            waits=int(fields.get("waits", 0)),
            crashes=int(fields.get("crashes", 0)),
            # a list of pairs: the set of open offsets and the offset
            clicks=1 + int(also) // 2,
            reason=fields.get("reason", b"").decode(errors="replace"),
            requested_ms=int(fields.get("requested", 0)),
            accepted_ms=int(fields.get("accepted", 0)),
            next_try_ms=None if due is None else int(due),
            owed_ms=int(fields["owed"]) if "owed" in fields else None,
            failure=None if failure is None else _failure_text(failure),
        )


def _failure_text(encoded: bytes) -> str:
    failure = decode_failure(encoded)
    return f"{failure.code}: {failure.error}"
