"""Whose turn it is to ask for a course's relation sets, in the ledger's Redis (docs/relations.md, healing)."""

from collections.abc import Sequence

from ledger.connection import LedgerConfig, LedgerConnection


class HealingTurns:
    """Lets each course through once in `interval` seconds, over all workers of the group. Safe for several threads."""

    def __init__(self, config: LedgerConfig, interval: float) -> None:
        self._connection = LedgerConnection(config)
        self._interval_ms = round(interval * 1000)

    def take(self, course_ids: Sequence[str]) -> list[bool]:
        """Say of each course whether it is the caller's turn to ask for it now, which then is taken.

        Raises LedgerUnavailable; a turn may be taken all the same then.
        """
        if not course_ids:
            return []
        with self._connection.writing(), self._connection.redis.pipeline(transaction=False) as together:
            for course_id in course_ids:
                together.set(f"{self._connection.prefix}healing:{course_id}", 1, nx=True, px=self._interval_ms)
            return [bool(taken) for taken in together.execute()]

    def close(self) -> None:
        """Close the connections to Redis."""
        self._connection.close()
