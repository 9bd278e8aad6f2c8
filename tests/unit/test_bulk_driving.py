"""In which order a bulk run submits, sends and writes its checkpoint, and what it does when it is stopped between."""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from bulk.certificate_sending import CertificateSender
from bulk.driving import Certificates, Drive
from bulk.file_slices import file_slices
from bulk.model import Found, Reason, Selection, Slice, TokenRange, Unjudged
from bulk.parts import parted
from bulk.ring import FIRST, LAST, token_of
from bulk.runs import DrivenRun, Run, decode_run, encode_run
from bulk.steps import Steps
from bulk.tally import Tally
from commands.endings import NotDone
from reconciliation.errors import Interrupted, LedgerUnavailable, PublishFailed, ReconciliationError
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

    def keep(self) -> None:
        pass

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
    is_interrupted: bool = False

    def judge(self, enrolments: Sequence[EnrolmentKey], selection: Selection) -> list[Found | Unjudged | None]:
        if self.is_interrupted:
            raise Interrupted
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
        self.is_disk_full = False
        self.record = Record(self.done)
        self.submitting = Submitting(self.done)
        self.publisher = Publisher(self.done)
        self.memory = Memory()
        self.is_stopped = False
        self.judge = Judge({key(1): 1_000, key(4): 4_000})
        sender = CertificateSender(
            self.judge,
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
            self.report,
            self.observe,
        )

    def report(self, part: Slice) -> None:
        if self.is_disk_full:
            raise NotDone("the report can't be written")
        self.done.append(f"reported {len(part.found)}")

    def observe(self, part: Slice) -> None:
        assert self.record.run.checkpoint == part.tokens.until


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
        "reported 2",
        "submitted user-0",
        "sent user-1",
        "checkpoint 10",
        "reported 0",
        "checkpoint 20",
        "reported 2",
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
    assert site.done == ["reported 2", "submitted user-0"]


def test_an_interruption_while_the_last_look_waits_for_a_server_is_one_as_any() -> None:
    site = Site()
    site.judge.is_interrupted = True
    assert not site.drive.go(SLICES)
    assert site.done == ["reported 2", "submitted user-0"]


def test_nothing_is_done_with_who_can_t_be_written_into_the_report() -> None:
    site = Site()
    site.is_disk_full = True
    with pytest.raises(NotDone):
        site.drive.go(SLICES)
    assert site.done == []
    site.is_disk_full = False
    assert site.drive.go(SLICES)
    assert [line for line in site.done if line.startswith("reported")] == ["reported 2", "reported 0", "reported 2"]


def test_an_event_that_kafka_refused_ends_the_run_before_its_checkpoint_and_the_others_are_not_sent_again() -> None:
    site = Site()
    site.publisher.refused = {b"user-4"}
    both = Slice(TokenRange(0, 10), 2, (Found(key(1), LACKING), Found(key(4), LACKING)), ())
    with pytest.raises(PublishFailed):
        site.drive.go([both])
    assert site.record.run.checkpoint is None
    site.publisher.refused = set()
    assert site.drive.go([both])
    assert site.done == ["reported 2", "sent user-1", "reported 2", "sent user-4", "checkpoint 10", "waited"]


def test_a_file_goes_on_after_what_was_dealt_with() -> None:
    class Everybody:
        def judge(self, enrolments: Sequence[EnrolmentKey], _: Selection) -> list[Found | Unjudged | None]:
            return [None if number % 7 == 0 else Found(it, (Reason.SELECTED,)) for number, it in enumerate(enrolments)]

    def lines() -> Iterator[EnrolmentKey]:
        return (key(number) for number in range(1_200))

    whole = list(file_slices(Everybody(), lines(), Selection(), None))
    assert [it.tokens for it in whole] == [TokenRange(at, at + 100) for at in range(0, 1_200, 100)]
    assert sum(it.looked_at for it in whole) == 1_200
    assert list(file_slices(Everybody(), lines(), Selection(), 500)) == whole[5:]
    assert list(file_slices(Everybody(), lines(), Selection(), 1_200)) == []


def scanned(count: int) -> Slice:
    """A slice of the whole ring with so many learners, the first of them in three batches."""
    enrolments = [key(number) for number in range(count)]
    enrolments += [replace(key(0), batch_id=f"batch-{number}") for number in range(2)]
    found = sorted((Found(it, (Reason.SELECTED,)) for it in enrolments), key=lambda it: token_of(it.enrolment.user_id))
    return Slice(TokenRange(FIRST, LAST), 2 * count, tuple(found), (Unjudged(key(count), "no leaf nodes"),))


@pytest.mark.parametrize("most", [1, 7, 100, 5_000])
def test_a_slice_is_parted_between_learners_and_nothing_of_it_is_lost(most: int) -> None:
    whole = scanned(300)
    parts = list(parted(whole, most))
    assert tuple(it for part in parts for it in part.found) == whole.found
    assert tuple(it for part in parts for it in part.unjudged) == whole.unjudged
    assert sum(part.looked_at for part in parts) == whole.looked_at
    assert [part.tokens.after for part in parts] == [FIRST, *(part.tokens.until for part in parts[:-1])]
    assert parts[-1].tokens.until == LAST
    for part in parts:
        both: list[Found | Unjudged] = [*part.found, *part.unjudged]
        tokens = {token_of(it.enrolment.user_id) for it in both}
        assert min(tokens) > part.tokens.after
        assert max(tokens) <= part.tokens.until
    assert max(len(part.found) for part in parts) <= most + 2


def test_a_slice_with_nothing_in_it_stays_as_it_is() -> None:
    assert list(parted(SLICES[0], 10)) == [SLICES[0]]
    nothing = Slice(TokenRange(0, 10), 5, (), ())
    assert list(parted(nothing)) == [nothing]


def test_what_was_interrupted_goes_on_after_its_last_part_and_submits_nobody_twice() -> None:
    whole = scanned(1_000)
    site = Site()
    site.submitting.most = sum(len(part.found) for part in list(parted(whole))[:2])
    assert not site.drive.go(parted(whole))
    checkpoint = site.record.run.checkpoint
    assert checkpoint is not None
    # as a scan that goes on after it
    rest = tuple(it for it in whole.found if token_of(it.enrolment.user_id) > checkpoint)
    site.submitting.most = 10**6
    assert site.drive.go(parted(replace(whole, tokens=TokenRange(checkpoint, LAST), found=rest, unjudged=())))
    submitted = [line for line in site.done if line.startswith("submitted ")]
    assert sorted(submitted) == sorted(f"submitted {it.enrolment.user_id}" for it in whole.found)
    assert site.record.run.found == len(whole.found)


class Away:
    """Has each of an object's methods fail once before it does anything, as a server that is away for a moment."""

    def __init__(self, one: object, error: Exception) -> None:
        self._one = one
        self._error = error
        self._failed: set[str] = set()

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._one, name)
        if not callable(found) or name == "keep":
            # that one waits for a better moment by itself
            return found

        def fails_once(*arguments: Any, **named: Any) -> Any:
            if name not in self._failed:
                self._failed.add(name)
                raise self._error
            return found(*arguments, **named)

        return fails_once


@dataclass
class Operator:
    """Waits for nothing; asks for an end after so many waits."""

    patience: int = 100
    is_asked: bool = False

    def pause(self, _seconds: float) -> None:
        self.patience -= 1
        self.is_asked = self.patience <= 0


def with_servers_away_once(site: Site, operator: Operator) -> Drive:
    steps = Steps(operator, lambda _: None)
    memory = Away(site.memory, LedgerUnavailable("away"))
    sender = CertificateSender(
        site.judge,
        Away(site.publisher, PublishFailed("away")),
        "certificates",
        memory,
        reissue=False,
        now_ms=lambda: 5_000,
        insist=steps.insist,
    )
    return Drive(
        Away(site.record, LedgerUnavailable("away")),  # type: ignore[arg-type] # has what a drive uses of it
        site.submitting,
        Certificates(sender, memory),  # type: ignore[arg-type] # as above
        SELECTION,
        lambda: operator.is_asked,
        lambda _: None,
        lambda _: None,
        steps.insist,
    )


def test_servers_that_are_away_for_a_moment_end_no_run_and_double_no_event() -> None:
    site = Site()
    assert with_servers_away_once(site, Operator()).go(SLICES)
    assert [line for line in site.done if line.startswith("sent")] == ["sent user-1", "sent user-4"]
    assert [line for line in site.done if line.startswith("checkpoint")] == [f"checkpoint {at}" for at in (10, 20, 30)]
    assert site.done[-1] == "waited"


def test_what_kafka_has_of_a_portion_is_not_sent_again_with_the_rest() -> None:
    site = Site()

    class Mending(Operator):
        def pause(self, _seconds: float) -> None:
            site.publisher.refused = set()

    site.publisher.refused = {b"user-4"}
    steps = Steps(Mending(), lambda _: None)
    sender = CertificateSender(
        site.judge, site.publisher, "topic", site.memory, reissue=False, now_ms=lambda: 5_000, insist=steps.insist
    )
    assert sender.send([key(1), key(4)], SELECTION, lambda: False)
    assert site.done == ["sent user-1", "sent user-4"]
    assert len(site.memory.mids) == 2


def test_an_operator_who_asks_for_an_end_while_a_server_is_away_waits_for_none() -> None:
    site = Site()
    assert not with_servers_away_once(site, Operator(patience=1)).go(SLICES)
    assert site.record.run.checkpoint is None


def test_a_server_that_stays_away_ends_the_run_once_patience_is_at_its_end() -> None:
    def step() -> None:
        raise LedgerUnavailable("away for good")

    with pytest.raises(LedgerUnavailable, match="for good"):
        Steps(Operator(patience=10**9), lambda _: None, patience=0.01).insist(step)


def test_a_lease_is_renewed_once_the_ledger_is_there_again_and_a_look_goes_on_meanwhile() -> None:
    @dataclass
    class Store:
        lease: float = 60.0
        is_away: bool = True
        asked: int = 0
        saved: int = 0

        def save(self, _run: Run, _token: str, *, lets_go: bool) -> None:
            self.asked += 1
            if self.is_away:
                raise LedgerUnavailable("away")
            self.saved += not lets_go

    store, now = Store(), 0.0
    driven = DrivenRun(store, Run("run", "{}", "{}", 0), "token", "life", was_other_life=False, clock=lambda: now)  # type: ignore[arg-type] # has what it uses of it
    for second in range(16, 36):
        now = float(second)
        driven.keep()
    # each try may take as long as the ledger is waited for
    assert 2 <= store.asked <= 10
    store.is_away = False
    for second in range(36, 46):
        now = float(second)
        driven.keep()
    assert store.saved == 1


def test_a_learner_whom_a_file_names_twice_is_dealt_with_once_even_after_a_resume() -> None:
    class Everybody:
        def judge(self, enrolments: Sequence[EnrolmentKey], _: Selection) -> list[Found | Unjudged | None]:
            return [Found(it, (Reason.SELECTED,)) for it in enrolments]

    lines = [*(key(number) for number in range(150)), key(3), key(149), key(150), key(150)]
    whole = list(file_slices(Everybody(), lines, Selection(), None))
    assert [it.enrolment for part in whole for it in part.found] == [key(number) for number in range(151)]
    # its numbers are those of the file's lines
    assert [(it.tokens, it.looked_at) for it in whole] == [(TokenRange(0, 100), 100), (TokenRange(100, 154), 54)]
    assert list(file_slices(Everybody(), lines, Selection(), 100)) == whole[1:]


def test_one_completion_gets_one_event_however_often_it_is_named() -> None:
    site = Site()
    twice = Slice(TokenRange(0, 10), 2, (Found(key(1), LACKING), Found(key(1), LACKING)), ())
    assert site.drive.go([twice])
    assert site.done == ["reported 2", "sent user-1", "checkpoint 10", "waited"]


def test_certificate_events_keep_to_the_rate_of_the_run() -> None:
    @dataclass
    class Pacing:
        left: list[int]
        asked: list[int] = field(default_factory=list)
        spent: int = 0

        def portion(self, most: int) -> int:
            self.asked.append(most)
            return min(most, self.left.pop(0))

        def spend(self, count: int) -> None:
            self.spent += count

    site, pacing = Site(), Pacing([2, 1, 0])
    sender = CertificateSender(
        site.judge, site.publisher, "topic", site.memory, reissue=False, now_ms=lambda: 5_000, pacing=pacing
    )
    # the last of four is not within the rate before an operator wants an end
    assert not sender.send([key(1), key(2), key(4), key(5)], SELECTION, lambda: False)
    assert site.done == ["sent user-1", "sent user-4"]
    assert (pacing.asked, pacing.spent) == ([4, 2, 1], 2)


def test_what_a_run_counted_is_kept_for_whoever_goes_on_with_it() -> None:
    site = Site()
    site.drive.go(SLICES[:2])
    again = Drive(
        Record(site.done, decode_run(encode_run(site.record.run).encode())),  # type: ignore[arg-type] # as above
        site.submitting,
        None,
        SELECTION,
        lambda: False,
        lambda _: None,
        lambda _: None,
    )
    again.go(SLICES[2:])
    once = Site()
    once.drive.go(SLICES)
    assert again.tally == once.drive.tally
    assert (again.tally.looked_at, again.tally.found, again.tally.unjudged) == (12, 4, 1)
    assert again.tally.reasons == {Reason.PROGRESS: 1, Reason.NO_CERTIFICATE: 3, Reason.AGGREGATES: 1}
    assert again.tally.is_whole


def test_a_record_of_an_older_release_tells_no_reasons() -> None:
    older = b'{"run_id": "r", "selection": "{}", "options": "{}", "started_ms": 0, "state": "running", "found": 3}'
    assert not Tally.of(decode_run(older)).is_whole
