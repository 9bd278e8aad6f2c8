"""A worker whose servers answer at once: `celery -A benchmarks.instant_worker worker` (see benchmarks/parts.py).

BENCH_WITHOUT says what is taken out: `reconciler` (nothing is looked at, decided or written, so bridge, broker, ledger
and task remain) or `servers` (all is decided, but Cassandra, the relation sets and Kafka's confirmations cost nothing).
"""

import os
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

from reconciliation.enrolment_store import EnrolmentStore
from reconciliation.model import (
    COMPLETED,
    IN_PROGRESS,
    Attempt,
    Completion,
    Consumption,
    CourseRelations,
    EnrolmentKey,
    EnrolmentRow,
    EnrolmentWrite,
    Look,
    Outcome,
    OutgoingEvent,
    Verdict,
)
from reconciliation.publisher import EventPublisher
from reconciliation.reconciler import Reconciler
from reconciliation.relation_cache import RelationCache
from worker.celery import app

__all__ = ["WITHOUT", "app"]

#: The variable that says what is taken out.
WITHOUT = "BENCH_WITHOUT"

_UNITS = {f"unit{unit}": frozenset(f"content{unit}-{number}" for number in range(5)) for unit in range(6)}
_CONTENTS = frozenset().union(*_UNITS.values())
_HALF = frozenset(sorted(_CONTENTS)[:15])


class InstantStore:
    """Answers like the store, for learners of whom every second has completed everything."""

    def __init__(self) -> None:
        self._completed: dict[EnrolmentKey, int] = {}

    def look(self, keys: Sequence[EnrolmentKey]) -> list[Look]:
        """Give what each learner consumed, and an enrolment in progress."""
        row = EnrolmentRow(IN_PROGRESS, None, 1, 1, 1)
        return [Look(tuple(Consumption(content, COMPLETED) for content in _consumed(key)), row) for key in keys]

    def write_aggregates(self, groups: Sequence[object]) -> list[None]:
        """Confirm everything."""
        return [None for _ in groups]

    def write_enrolments(self, writes: Sequence[EnrolmentWrite]) -> list[None]:
        """Confirm everything, and keep what is read back next."""
        self._completed.update({it.enrolment: it.completed_on_ms for it in writes if it.completed_on_ms is not None})
        return [None for _ in writes]

    def read_completions(self, keys: Sequence[EnrolmentKey]) -> list[EnrolmentRow]:
        """Give the completions just written."""
        return [EnrolmentRow(COMPLETED, self._completed.pop(key), 1, 1, 1) for key in keys]

    def clock_difference(self) -> float:
        """Give none."""
        return 0.0

    def close(self) -> None:
        """Do nothing."""


def _consumed(key: EnrolmentKey) -> frozenset[str]:
    return _CONTENTS if int(key.user_id.rpartition("-")[2]) % 2 else _HALF


def _relations(_cache: object, wanted: Mapping[str, Collection[str]]) -> dict[str, CourseRelations]:
    found = {}
    for course_id, contents in wanted.items():
        ancestors = {
            content: frozenset({course_id, *(unit for unit, members in _UNITS.items() if content in members)})
            for content in contents
        }
        found[course_id] = CourseRelations({course_id: _CONTENTS, **_UNITS}, {}, ancestors)
    return found


def _confirm(_publisher: object, events: Sequence[OutgoingEvent]) -> list[None]:
    return [None for _ in events]


def _done(_reconciler: object, attempts: Sequence[Attempt], _record_debts: Callable[..., Any]) -> list[Outcome]:
    """Say that all is done; every second learner's completion is paid, so that the ledger remembers as many mids."""
    return [
        Outcome(it.entry_id, Verdict.COMPLETED, Completion(it.enrolment, it.requested_ms))
        if len(_consumed(it.enrolment)) == len(_CONTENTS)
        else Outcome(it.entry_id, Verdict.IN_PROGRESS)
        for it in attempts
    ]


_REPLACED: dict[str, list[tuple[type, str, object]]] = {
    "reconciler": [(Reconciler, "reconcile", _done)],
    "servers": [
        (EnrolmentStore, "connect", classmethod(lambda *_: InstantStore())),
        (RelationCache, "read", _relations),
        (EventPublisher, "publish", _confirm),
    ],
}


if os.environ.get(WITHOUT):
    for _owner, _name, _instead in _REPLACED[os.environ[WITHOUT]]:
        setattr(_owner, _name, _instead)
