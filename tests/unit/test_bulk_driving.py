"""In which order a bulk run submits, sends and writes its checkpoint, and what it does when it is stopped between."""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from bulk.certificate_sending import CertificateSender
from bulk.driving import Certificates, Drive
from bulk.file_slices import file_slices
from bulk.model import Found, Reason, Selection, Slice, TokenRange, Unjudged
from bulk.runs import Run
from reconciliation.errors import PublishFailed, ReconciliationError
from reconciliation.model import EnrolmentKey, OutgoingEvent

SELECTION = Selection(missing_certificates=True, stuck=True)
LACKING = (Reason.NO_CERTIFICATE,)


def key(number: int) -> EnrolmentKey:
    return EnrolmentKey(f"user-{number}", "do_1", "batch")


@dataclass
class Record:
    """A run's record that lives here alone; `done` is what happened, in its order."""

    done: list[str]
    run: Run = field(default_factory=lambda: Run("run", "{}", "{}", 0))

    def save(self, **changes: Any) -> None:
        self.run = replace(self.run, **changes)
        self.done.append(f"checkpoint {self.run.checkpoint}")


@dataclass
class Submitting:
    done: list[str]
    most: int = 10**6

    def submit(self, enrolments: Sequence[EnrolmentKey]) -> bool:
        self.done += [f"submitted {it.user_id}" for it in enrolments[: self.most]]
        self.most -= len(enrolments)
        return self.most >= 0

    def wait_for_end(self) -> bool:
        self.done.append("waited")
        return True


@dataclass
class Judge:
    """Judges as it is told; who is not in `completed` lacks nothing any more."""

    completed: dict[EnrolmentKey, int]

    def judge(self, enrolments: Sequence[EnrolmentKey], selection: Selection) -> list[Found | Unjudged | None]:
        assert selection == Selection(missing_certificates=True)
        return [Found(it, LACKING, (), self.completed[it]) if it in self.completed else None for it in enrolments]


@dataclass
class Publisher:
    done: list[str]
    refused: set[bytes] = field(default_factory=set)

    def publish(self, events: Sequence[OutgoingEvent]) -> list[ReconciliationError | None]:
        self.done += [f"sent {it.key.decode()}" for it in events if it.key and it.key not in self.refused]
        return [PublishFailed("refused") if it.key in self.refused else None for it in events]


@dataclass
class Memory:
    mids: set[str] = field(default_factory=set)

    def sent_since(self) -> Collection[str]:
        return self.mids

    def note_sent(self, mids: Collection[str]) -> None:
        self.mids |= set(mids)

    def forget(self) -> None:
        self.mids.clear()


class Site:
    def __init__(self) -> None:
        self.done: list[str] = []
        self.record = Record(self.done)
        self.submitting = Submitting(self.done)
        self.publisher = Publisher(self.done)
        self.memory = Memory()
        self.is_stopped = False
        sender = CertificateSender(
            Judge({key(1): 1_000, key(4): 4_000}),
            self.publisher,
            "certificates",
            self.memory,
            reissue=False,
            now_ms=lambda: 5_000,
        )
        self.drive = Drive(
            self.record,  # type: ignore[arg-type] # has what a drive uses of it
            self.submitting,
            Certificates(sender, self.memory),  # type: ignore[arg-type] # as above
            SELECTION,
            lambda: self.is_stopped,
            lambda _: None,
        )


SLICES = (
    Slice(TokenRange(0, 10), 5, (Found(key(0), (Reason.PROGRESS,)), Found(key(1), LACKING)), ()),
    Slice(TokenRange(10, 20), 3, (), (Unjudged(key(2), "no leaf nodes"),)),
    Slice(
        TokenRange(20, 30), 4, (Found(key(3), LACKING), Found(key(4), (Reason.AGGREGATES, Reason.NO_CERTIFICATE))), ()
    ),
)


def test_a_checkpoint_follows_what_it_covers() -> None:
    site = Site()
    assert site.drive.go(SLICES)
    # the third learner's certificate was made meanwhile
    assert site.done == [
        "submitted user-0",
        "sent user-1",
        "checkpoint 10",
        "checkpoint 20",
        "submitted user-4",
        "sent user-4",
        "checkpoint 30",
        "waited",
    ]
    assert (site.record.run.looked_at, site.record.run.found) == (12, 4)
    assert site.drive.tally.unjudged == 1
    assert site.memory.mids == set()


def test_what_was_stopped_in_a_slice_leaves_the_checkpoint_before_it() -> None:
    site = Site()
    site.submitting.most = 1
    assert not site.drive.go(SLICES)
    assert site.record.run.checkpoint == 20
    assert "waited" not in site.done


def test_an_interruption_keeps_certificates_back() -> None:
    site = Site()
    site.is_stopped = True
    assert not site.drive.go(SLICES)
    assert site.done == ["submitted user-0"]


def test_an_event_that_kafka_refused_ends_the_run_before_its_checkpoint_and_the_others_are_not_sent_again() -> None:
    site = Site()
    site.publisher.refused = {b"user-4"}
    both = Slice(TokenRange(0, 10), 2, (Found(key(1), LACKING), Found(key(4), LACKING)), ())
    with pytest.raises(PublishFailed):
        site.drive.go([both])
    assert site.record.run.checkpoint is None
    site.publisher.refused = set()
    assert site.drive.go([both])
    assert site.done == ["sent user-1", "sent user-4", "checkpoint 10", "waited"]


def test_a_file_goes_on_after_what_was_dealt_with() -> None:
    class Everybody:
        def judge(self, enrolments: Sequence[EnrolmentKey], _: Selection) -> list[Found | Unjudged | None]:
            return [None if number % 7 == 0 else Found(it, (Reason.SELECTED,)) for number, it in enumerate(enrolments)]

    def lines() -> Iterator[EnrolmentKey]:
        return (key(number) for number in range(1_200))

    whole = list(file_slices(Everybody(), lines(), Selection(), None))
    assert [it.tokens for it in whole] == [TokenRange(0, 500), TokenRange(500, 1000), TokenRange(1000, 1200)]
    assert sum(it.looked_at for it in whole) == 1_200
    assert list(file_slices(Everybody(), lines(), Selection(), 500)) == whole[1:]
    assert list(file_slices(Everybody(), lines(), Selection(), 1_200)) == []
