"""Remembers which certificate events a run has sent since its last checkpoint, in the ledger's Redis."""

from collections.abc import Collection
from typing import Any

from ledger.connection import LedgerConnection, translated

#: As long as the run's record is kept after it was saved last, in seconds.
_KEPT = 30 * 24 * 3600


class SentMemory:
    """The mids of one run's events since its last checkpoint, and no more; how many it sent stands in its record.

    Every method raises LedgerUnavailable while the ledger's Redis does not answer.
    """

    def __init__(self, connection: LedgerConnection, run_id: str) -> None:
        self._redis: Any = connection.redis
        self._key = f"{connection.prefix}bulk:sent:{run_id}"
        self._run = f"{connection.prefix}bulk:run:{run_id}"

    def sent_since(self) -> Collection[str]:
        """Give the mids of the events that were sent."""
        with translated():
            return {mid.decode() for mid in self._redis.smembers(self._key)}

    def note_sent(self, mids: Collection[str]) -> None:
        """Remember them, and count them for the run."""
        with translated(), self._redis.pipeline(transaction=True) as together:
            together.sadd(self._key, *mids)
            together.expire(self._key, _KEPT)
            together.hincrby(self._run, "certificates", len(mids))
            together.expire(self._run, _KEPT)
            together.execute()

    def forget(self) -> None:
        """Begin anew: a checkpoint lies behind all of them."""
        with translated():
            self._redis.delete(self._key)
