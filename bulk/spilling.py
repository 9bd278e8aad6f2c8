"""Puts the aggregates of a whole table by learner: their own table is read in another order.

Files of fixed-size records, parted by the learner's token, so that a scan has those of one part of the ring at hand.
No id of a learner goes to the disk: a record names its row by a keyed digest of 128 bits.
"""

import struct
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from hashlib import blake2b
from pathlib import Path

from bulk.ring import part_of, token_of
from reconciliation.errors import ScanFailed
from reconciliation.model import EnrolmentKey

_NAME_BYTES = 16
_RECORD = struct.Struct(f"<{_NAME_BYTES}sd")
_MOST_HELD = 200_000


def record_name(secret: bytes, activity_id: str, user_id: str, context_id: str) -> bytes:
    """Name an aggregate row; lengths keep ids apart that run into each other."""
    named = f"{len(activity_id)}:{len(user_id)}:{activity_id}{user_id}{context_id}"
    return blake2b(named.encode(), digest_size=_NAME_BYTES, key=secret).digest()


class SpillWriter:
    """Writes the completed counts of one range of the aggregates' own ring.

    At most 200,000 records are held. A file is there whole or not at all: one who is killed leaves none that is torn.

    Args:
        folder: where the files go.
        name: what they are called by; no other writer's.
        secret: keys the digests.
        parts: into how many parts the ring of learners is parted.
        start_after: learners up to this token are left out.

    """

    def __init__(self, folder: Path, name: str, secret: bytes, parts: int, start_after: int | None) -> None:
        self._folder = folder
        self._name = name
        self._secret = secret
        self._parts = parts
        self._start_after = start_after
        self._held: defaultdict[int, list[bytes]] = defaultdict(list)
        self._count = 0
        self._written: list[Path] = []

    def add(self, activity_id: str, user_id: str, context_id: str, completed_count: float) -> None:
        """Take one row. Raises ScanFailed where the folder does not."""
        token = token_of(user_id)
        if self._start_after is not None and token <= self._start_after:
            return
        name = record_name(self._secret, activity_id, user_id, context_id)
        self._held[part_of(token, self._parts)].append(_RECORD.pack(name, completed_count))
        self._count += 1
        if self._count >= _MOST_HELD:
            self._flush()

    def close(self) -> tuple[Path, ...]:
        """Write what is held and give all files. Raises ScanFailed."""
        if self._count:
            self._flush()
        return tuple(self._written)

    def _flush(self) -> None:
        sizes = [len(self._held.get(part, ())) for part in range(self._parts)]
        head = _starts(self._parts).pack(*_sums(sizes))
        path = self._folder / f"{self._name}-{len(self._written)}"
        unfinished = path.with_suffix(".unfinished")
        try:
            with unfinished.open("wb") as file:
                file.write(head)
                for part in sorted(self._held):
                    file.write(b"".join(self._held[part]))
            unfinished.rename(path)
        except OSError as error:
            raise _unusable(self._folder, error) from error
        self._written.append(path)
        self._held.clear()
        self._count = 0


class SpilledCounts:
    """Looks completed counts up in the files of all writers; those of one part of the ring are held at a time."""

    def __init__(self, files: Sequence[Path], secret: bytes, parts: int) -> None:
        self._files = files
        self._secret = secret
        self._parts = parts
        self._part: int | None = None
        self._counts: dict[bytes, float] = {}

    def counts(self, enrolment: EnrolmentKey, activity_ids: Collection[str]) -> Mapping[str, float]:
        """Give those of these activities' counts that are there. Raises ScanFailed where a file can't be read."""
        part = part_of(token_of(enrolment.user_id), self._parts)
        if part != self._part:
            self._counts = self._load(part)
            self._part = part
        found = {}
        context_id = f"cb:{enrolment.batch_id}"
        for activity_id in activity_ids:
            count = self._counts.get(record_name(self._secret, activity_id, enrolment.user_id, context_id))
            if count is not None:
                found[activity_id] = count
        return found

    def _load(self, part: int) -> dict[bytes, float]:
        counts: dict[bytes, float] = {}
        starts = _starts(self._parts)
        for path in self._files:
            try:
                with path.open("rb") as file:
                    bounds = starts.unpack(file.read(starts.size))
                    first, last = bounds[part], bounds[part + 1]
                    file.seek(starts.size + first * _RECORD.size)
                    records = file.read((last - first) * _RECORD.size)
            except OSError as error:
                raise _unusable(path.parent, error) from error
            counts.update(_RECORD.iter_unpack(records))
        return counts


def _starts(parts: int) -> struct.Struct:
    return struct.Struct(f"<{parts + 1}q")


def _sums(sizes: Sequence[int]) -> list[int]:
    sums = [0]
    for size in sizes:
        sums.append(sums[-1] + size)
    return sums


def _unusable(folder: Path, error: OSError) -> ScanFailed:
    return ScanFailed(
        f"the aggregates can't be put into {folder}: {error}; give the scan a folder with more room (TMPDIR), or leave "
        "aggregates out"
    )
