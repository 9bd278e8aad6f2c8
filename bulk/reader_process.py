"""A process that reads token ranges, and what it and its parent tell each other over a pipe."""

import logging
import signal
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path

from prometheus_client import CollectorRegistry

from bulk.courses import Courses
from bulk.finder import CountsOf
from bulk.learners import Learners
from bulk.looking import Looker
from bulk.model import Selection, Slice, TokenRange
from bulk.options import ScanOptions
from bulk.patience import Patience, ScanRate
from bulk.raw_maps import double_of
from bulk.source import ScanSource
from bulk.spilling import SpilledCounts, SpillWriter
from reconciliation.counters import Counters
from reconciliation.errors import ScanFailed, SettingsError
from reconciliation.from_settings import collection_search, relations, rules, store_config
from reconciliation.logs import configure_logging
from reconciliation.model import EnrolmentKey
from reconciliation.settings import Settings

#: How often a process at work says that it is, in seconds.
BEAT_SECONDS = 5.0
# An aggregate row is a small part of what is read of an enrolment.
_AGGREGATES_AN_ENROLMENT = 5
_ROWS_A_BEAT = 1000


@dataclass(frozen=True, slots=True)
class Assignment:
    """What a reader process is made for; `secret` keys the names of spilled aggregates, which lie in `folder`."""

    settings: Settings
    options: ScanOptions
    selection: Selection
    most_per_second: float | None
    secret: bytes
    folder: Path | None
    parts: int
    start_after: int | None


@dataclass(frozen=True, slots=True)
class Spill:
    """Put the aggregates of this range of their own ring into files of this name."""

    tokens: TokenRange
    name: str


@dataclass(frozen=True, slots=True)
class Look:
    """Look through this range of learners, with these files of aggregates."""

    tokens: TokenRange
    files: tuple[Path, ...]


@dataclass(frozen=True, slots=True)
class Done:
    """The order is carried out, and these files were written."""

    files: tuple[Path, ...] = ()


@dataclass(frozen=True, slots=True)
class Told:
    """A sentence for people; an empty one says that the process is at work."""

    text: str = ""


@dataclass(frozen=True, slots=True)
class Broken:
    """The process can't go on; `is_setting` says that it is a matter of settings."""

    text: str
    is_setting: bool = False


Order = Spill | Look
Answer = Slice | Done | Told | Broken


class _Gone(Exception):
    """Raised when the parent waits for us no more."""


def read_ranges(connection: Connection, assignment: Assignment) -> None:
    """Carry out orders until the parent closes the pipe: the process's main function."""
    # Control-C reaches every process of a terminal; the parent decides what it means
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    configure_logging("console", "warning")
    # what goes wrong is told in one line; the driver would say it beforehand, and at length
    logging.getLogger("cassandra").setLevel(logging.CRITICAL)
    try:
        with open_reader(assignment, _pauses(connection), connection.send) as reader:
            while True:
                for answer in reader.answers(connection.recv()):
                    connection.send(answer)
    except (_Gone, EOFError, BrokenPipeError, ConnectionResetError):
        return
    except SettingsError as error:
        _send_last(connection, Broken(str(error), is_setting=True))
    except ScanFailed as error:
        _send_last(connection, Broken(str(error)))
    except Exception as error:  # noqa: BLE001 - the parent tells it; a lost process would be started anew for it
        _send_last(connection, Broken(f"{type(error).__name__}: {error}"))


def _send_last(connection: Connection, answer: Answer) -> None:
    try:
        connection.send(answer)
    except OSError:
        return


def _pauses(connection: Connection) -> Callable[[float], None]:
    def pause(seconds: float) -> None:
        ends = time.monotonic() + seconds
        while (left := ends - time.monotonic()) > 0:
            # nothing is sent to a process at work: what can be read is the pipe's end
            if connection.poll(min(left, BEAT_SECONDS)):
                raise _Gone
            connection.send(Told())

    return pause


class RangeReader:
    """Carries out orders, with one connection to each server; made by `open_reader`."""

    def __init__(
        self,
        assignment: Assignment,
        source: ScanSource,
        courses: Courses,
        patience: Patience,
        pace: ScanRate,
        beat: Callable[[], object],
    ) -> None:
        decided = rules(assignment.settings)
        self.learners = Learners(source, courses, decided, assignment.options, patience, now_us)
        self._looker = Looker(
            source,
            self.learners,
            courses,
            decided,
            assignment.options,
            patience=patience,
            pace=pace,
            beat=beat,
            now_us=now_us,
        )
        self.source = source
        self.patience = patience
        self._assignment = assignment
        self._pace = pace
        self._beat = beat
        self._counts: SpilledCounts | None = None

    def spend(self, enrolments: int) -> None:
        """Wait until the enrolments that were read before are within the rate, and count so many more."""
        self._pace.spend(enrolments)

    def answers(self, order: Order) -> Iterator[Answer]:
        """Carry out one order; the last answer is `Done`. Raises ScanFailed."""
        if isinstance(order, Spill):
            yield Done(self._spill(order))
        else:
            if order.files and self._counts is None:
                self._counts = SpilledCounts(order.files, self._assignment.secret, self._assignment.parts)
            counts_of: CountsOf | None = _nothing if self._assignment.options.aggregates else None
            if self._counts is not None:
                counts_of = self._counts.counts
            yield from self._looker.slices(self._assignment.selection, order.tokens, counts_of)
            yield Done()

    def _spill(self, order: Spill) -> tuple[Path, ...]:
        assignment = self._assignment
        assert assignment.folder is not None  # noqa: S101 - for the type checker: who spills has a folder
        writer = SpillWriter(assignment.folder, order.name, assignment.secret, assignment.parts, assignment.start_after)
        rows = self.source.aggregates(order.tokens, self.patience)
        for number, (activity_type, activity_id, user_id, context_id, aggregates) in enumerate(rows):
            if number % _ROWS_A_BEAT == 0:
                self._beat()
                self._pace.spend(_ROWS_A_BEAT / _AGGREGATES_AN_ENROLMENT)
            count = double_of(aggregates, "completedCount") if activity_type == "Course" else None
            if count is not None:
                writer.add(activity_id, user_id, context_id, count)
        return writer.close()


@contextmanager
def open_reader(
    assignment: Assignment, pause: Callable[[float], object], send: Callable[[Told], object]
) -> Iterator[RangeReader]:
    """Give a reader with open connections, which are closed when the block ends.

    `pause` waits some seconds and may raise to end everything; `send` takes what is to be told. Raises ScanFailed where
    a server stays away, SettingsError where a table or column isn't there.
    """
    settings, options = assignment.settings, assignment.options
    counters = Counters(CollectorRegistry())
    patience = Patience(options.patience, lambda text: send(Told(text)), pause)
    source = patience.insist("connecting", lambda: ScanSource.connect(store_config(settings), options, counters))
    with closing(source), closing(Courses(relations(settings, counters), collection_search(settings))) as courses:
        pace = ScanRate(assignment.most_per_second, pause)
        yield RangeReader(assignment, source, courses, patience, pace, _beats(send))


def _beats(send: Callable[[Told], object]) -> Callable[[], None]:
    told = [time.monotonic()]

    def beat() -> None:
        if time.monotonic() - told[0] >= BEAT_SECONDS:
            told[0] = time.monotonic()
            send(Told())

    return beat


def _nothing(_enrolment: EnrolmentKey, _activity_ids: Collection[str]) -> Mapping[str, float]:
    return {}


def now_us() -> int:
    """Give this host's clock in microseconds since 1970."""
    return time.time_ns() // 1000
