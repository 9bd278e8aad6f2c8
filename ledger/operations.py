"""What operators do with the ledger beside bridges and workers: look, pause, end pauses, forget a learner.

Looking changes nothing and walks in pages, so that the ledger's Redis is never busy for long. docs/reliability.md says
what a pause does.
"""

import json
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from ledger.connection import LedgerConnection, translated
from ledger.entries import decode_enrolment, enrolment_field
from ledger.open_entries import FIELDS, OpenEntry, decode_open_entry
from ledger.pauses import MOST_PAUSES, Pause, decode_pause
from reconciliation.model import EnrolmentKey

#: How many entries are read in one round trip, about.
PAGE = 500

Found = list[tuple[str, EnrolmentKey]]


class Operations:
    """The operators' way to a ledger.

    Args:
        connection: the ledger's.

    """

    def __init__(self, connection: LedgerConnection) -> None:
        self._connection = connection
        self._redis: Any = connection.redis
        self._prefix = connection.prefix

    def close(self) -> None:
        """Close the connections to Redis."""
        self._connection.close()

    def now_ms(self) -> int:
        """Ask the ledger's clock, in ms since 1970: the ages and times of entries are by it."""
        with translated():
            seconds, microseconds = self._redis.time()
        return int(seconds) * 1000 + int(microseconds) // 1000

    def open_count(self) -> int:
        """Count the requests that are accepted and not settled."""
        with translated():
            return int(self._redis.get(self._prefix + "count") or 0)

    def pauses(self) -> list[Pause]:
        """List what is paused, the longest paused first."""
        with translated():
            found = self._redis.hgetall(self._prefix + "paused")
        pauses = (decode_pause(scope, value) for scope, value in found.items())
        return sorted((it for it in pauses if it is not None), key=lambda it: (it.since_ms, it.scope))

    def pause(self, scopes: Sequence[str], reason: str) -> list[str]:
        """Pause these scopes (see `ledger.pauses`); gives those that are not, since there are too many already."""
        rows = self._connection.run("pause", [MOST_PAUSES, reason, *scopes])
        return [scope for scope, row in zip(scopes, rows, strict=True) if not row]

    def end_pauses(self, scopes: Sequence[str]) -> list[str]:
        """End these pauses; gives those that there were. What they kept back goes on with the sweeps."""
        rows = self._connection.run("unpause", list(scopes)) if scopes else []
        return [scope for scope, row in zip(scopes, rows, strict=True) if row]

    def entries(self) -> Iterator[OpenEntry]:
        """Walk through what is open, in no order; what begins, ends or is let go meanwhile may be missing."""
        pauses = self.pauses()
        with translated():
            shelves = [f"shelf:{scope.decode()}" for scope in self._redis.hkeys(self._prefix + "paused")]
        seen: set[bytes] = set()
        # in this order: what is shelved meanwhile is met later
        for name in ("due", *shelves):
            for page in self._pages(name):
                fresh = {entry_id: score for entry_id, score in page if entry_id not in seen}
                seen.update(fresh)
                yield from self._read(fresh, pauses, is_due=name == "due")

    def entries_of(self, user_id: str) -> tuple[list[OpenEntry], Found]:
        """Find a learner's open entries, and the places where lists name one of theirs."""
        entries = [entry for entry in self.entries() if entry.enrolment.user_id == user_id]
        return entries, list(self._named(user_id))

    def forget(self, entries: Iterable[tuple[str, EnrolmentKey]]) -> list[int]:
        """End these entries, whoever holds them; gives for each how many requests ended with it.

        Where no such entry is open any more, what still names its enrolment goes all the same.
        """
        closed: list[int] = []
        found = list(entries)
        for at in range(0, len(found), PAGE):
            arguments: list[str | bytes | int] = []
            for entry_id, enrolment in found[at : at + PAGE]:
                arguments += [entry_id, enrolment_field(enrolment)]
            closed += [int(row) for row in self._connection.run("forget", arguments)]
        return closed

    def runs_for(self, user_id: str) -> list[str]:
        """Find the bulk runs that were begun for this learner, whose records name them."""
        with translated():
            runs = [name.decode() for name in self._redis.zrange(self._prefix + "bulk:runs", 0, -1)]
            records = [self._redis.hget(self._run_key(run), "record") for run in runs]
        return [run for run, record in zip(runs, records, strict=True) if record and _user_of(record) == user_id]

    def delete_runs(self, runs: Iterable[str]) -> None:
        """Delete the records of these bulk runs; a process that drives one is told so with its next step, and ends.

        A record is never kept without its selection: whoever resumed it would go on with everybody.
        """
        for run in runs:
            with translated():
                self._redis.delete(self._run_key(run))
                self._redis.zrem(self._prefix + "bulk:runs", run)

    def _run_key(self, run: str) -> str:
        return f"{self._prefix}bulk:run:{run}"

    def _named(self, user_id: str) -> Iterator[tuple[str, EnrolmentKey]]:
        """Give what the lists by enrolment hold for a learner: an entry's id, open or not, and the enrolment."""
        for name in ("waiting", "running"):
            cursor = 0
            while True:
                with translated():
                    cursor, page = self._redis.hscan(self._prefix + name, cursor, count=PAGE)
                for field, entry_id in page.items():
                    enrolment = _enrolment(field)
                    if enrolment is not None and enrolment.user_id == user_id:
                        yield entry_id.decode(), enrolment
                if cursor == 0:
                    break

    def _pages(self, name: str) -> Iterator[list[tuple[bytes, float]]]:
        cursor = 0
        while True:
            with translated():
                cursor, page = self._redis.zscan(self._prefix + name, cursor, count=PAGE)
            yield page
            if cursor == 0:
                return

    def _read(self, scores: dict[bytes, float], pauses: Sequence[Pause], *, is_due: bool) -> Iterator[OpenEntry]:
        ids = [entry_id.decode() for entry_id in scores]
        with translated(), self._redis.pipeline(transaction=False) as together:
            for entry_id in ids:
                together.hmget(f"{self._prefix}entry:{entry_id}", *FIELDS)
                together.llen(f"{self._prefix}also:{entry_id}")
            answers = together.execute()
        for entry_id, score, values, also in zip(ids, scores.values(), answers[::2], answers[1::2], strict=True):
            # each collapsed request stands there with two items, its partition's key and its offset
            entry = decode_open_entry(entry_id, values, round(score) if is_due else None, also // 2, pauses)
            if entry is not None:
                yield entry


def _enrolment(field: bytes) -> EnrolmentKey | None:
    try:
        return decode_enrolment(field)
    except ValueError:
        return None


def _user_of(record: bytes) -> object:
    """Give the learner for whom alone a bulk run was begun, None where it is for others too."""
    return json.loads(json.loads(record)["selection"]).get("user_id")
