"""Finds enrolments: a parallel scan by token ranges, or single learners and enrolments."""

import secrets
import tempfile
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Protocol, Self

import structlog

from bulk.fleet import Fleet
from bulk.learners import Judgement
from bulk.looking import is_compared
from bulk.model import Found, Selection, Slice, TokenRange, Unjudged
from bulk.options import ScanOptions
from bulk.reader_process import Assignment, Done, Look, RangeReader, Spill, Told, open_reader
from bulk.ring import parted, range_count, remaining, token_of
from reconciliation.errors import Interrupted, ScanFailed
from reconciliation.model import EnrolmentKey
from reconciliation.settings import Settings

log = structlog.get_logger(__name__)

_PAUSE_SECONDS = 0.2


class Stop(Protocol):
    """Says whether to end early: a `threading.Event`, say."""

    def is_set(self) -> bool:
        """Whether to end."""


class Scan:
    """Finds enrolments. Use it as a context: it keeps a connection of its own, and ends its processes when it ends.

    Args:
        settings: those that bridges and workers have.
        options: how it goes about it.
        tell: takes a sentence for people when something is waited for; the log unless given.
        stop: ends whatever it is about, for as long as it lives: connecting and judging raise Interrupted then.

    Entering the context raises ScanFailed where a server stays away, SettingsError where a table or column isn't there.

    """

    def __init__(
        self,
        settings: Settings,
        options: ScanOptions | None = None,
        tell: Callable[[str], object] | None = None,
        stop: Stop | None = None,
    ) -> None:
        self._settings = settings
        self._options = options or ScanOptions()
        self._tell = tell or log.warning
        self._stop = stop
        self._slices_stop: Stop | None = None
        self._opened = ExitStack()
        self._reader: RangeReader | None = None
        self._fleet: Fleet | None = None

    def __enter__(self) -> Self:
        assignment = self._assignment(Selection(), None, None)
        self._reader = self._opened.enter_context(open_reader(assignment, self._pause, self._told))
        return self

    def __exit__(self, *_: object) -> None:
        self._reader = None
        self._opened.close()

    def slices(self, selection: Selection, start_after: int | None, stop: Stop) -> Generator[Slice, None, None]:
        """Look through all enrolments of a selection, in token order: each slice begins where the one before ended.

        A run that has dealt with a slice goes on with `start_after` its last token. `stop` ends it early; what
        was given out is whole. For one learner (`Selection.user_id`) their partition alone is read, as one slice.

        Close the iterator, or go through to its end: that ends the reader processes. Raises ScanFailed and
        SettingsError.
        """
        self._slices_stop = stop
        try:
            if selection.user_id:
                yield from self._users_slice(selection, start_after)
            else:
                yield from self._scanned(selection, start_after)
        except Interrupted:
            return
        finally:
            self._slices_stop = None

    def judge(self, enrolments: Sequence[EnrolmentKey], selection: Selection) -> list[Judgement]:
        """Say of each enrolment why a run with this selection would take it; None where it would not.

        One without a row can't be judged. Raises ScanFailed, SettingsError, and Interrupted where `stop` says so.
        """
        reader = self._opened_reader()
        self._check(selection, whole=False)
        reader.spend(len(enrolments))
        return reader.learners.judge(enrolments, selection, self._go_on)

    def users_enrolments(self, user_id: str) -> list[EnrolmentKey]:
        """List a learner's enrolments in any course, by course and batch. Raises ScanFailed."""
        reader = self._opened_reader()
        return reader.patience.insist("a learner's enrolments", lambda: reader.source.users_enrolments(user_id))

    def pids(self) -> list[int]:
        """Give the ids of the reader processes that run now; safe to ask from another thread."""
        fleet = self._fleet
        return [] if fleet is None else fleet.pids()

    def _users_slice(self, selection: Selection, start_after: int | None) -> Iterator[Slice]:
        token = token_of(selection.user_id)
        if start_after is not None and token <= start_after:
            return
        keys = self.users_enrolments(selection.user_id)
        judgements = self.judge(keys, selection)
        yield Slice(
            TokenRange(token - 1, token),
            len(keys),
            tuple(it for it in judgements if isinstance(it, Found)),
            tuple(it for it in judgements if isinstance(it, Unjudged)),
        )

    def _scanned(self, selection: Selection, start_after: int | None) -> Iterator[Slice]:
        reader = self._opened_reader()
        self._check(selection, whole=True)
        learners = reader.patience.insist("the size of the tables", reader.source.estimated_learners)
        parts = range_count(learners)
        ranges = parted(parts)
        left = remaining(ranges, start_after)
        if not left:
            return
        spills = is_compared(selection) and self._options.aggregates
        with self._folder(needed=spills) as folder:
            assignment = self._assignment(selection, start_after, folder, parts)
            with closing(self._made_fleet(assignment)) as fleet:
                files: list[Path] = []
                if spills:
                    orders = [Spill(tokens, f"counts-{number}") for number, tokens in enumerate(ranges)]
                    for answer in fleet.carry_out(orders):
                        files += answer.files if isinstance(answer, Done) else ()
                self._go_on()
                for answer in fleet.carry_out([Look(tokens, tuple(files)) for tokens in left]):
                    if isinstance(answer, Slice):
                        yield answer
        self._fleet = None

    def _made_fleet(self, assignment: Assignment) -> Fleet:
        settings = self._settings
        # the longest of what a process may be about between two beats, with room for a busy machine
        silence = 120 + 4 * max(settings.cassandra_timeout, settings.redis_timeout, settings.search_timeout)
        self._fleet = Fleet(
            assignment, max(1, self._options.processes), tell=self._tell, stop=self._is_stopped, silence=silence
        )
        return self._fleet

    @contextmanager
    def _folder(self, *, needed: bool) -> Iterator[Path | None]:
        if not needed:
            yield None
            return
        try:
            made = tempfile.TemporaryDirectory(
                prefix="enrolment-scan-", dir=self._options.folder, ignore_cleanup_errors=True
            )
        except OSError as error:
            raise ScanFailed(
                f"there is no folder for the aggregates: {error}; name one that can be written (TMPDIR), or leave "
                "aggregates out"
            ) from error
        with made as name:
            yield Path(name)

    def _check(self, selection: Selection, *, whole: bool) -> None:
        reader = self._opened_reader()
        reader.source.check(selection, whole=whole)

    def _assignment(
        self, selection: Selection, start_after: int | None, folder: Path | None, parts: int = 1
    ) -> Assignment:
        return Assignment(
            settings=self._settings,
            options=self._options,
            selection=selection,
            most_per_second=self._options.most_per_second,
            secret=secrets.token_bytes(32),
            folder=folder,
            parts=parts,
            start_after=start_after,
        )

    def _opened_reader(self) -> RangeReader:
        if self._reader is None:
            raise RuntimeError("a scan is used as a context")
        return self._reader

    def _told(self, told: Told) -> None:
        if told.text:
            self._tell(told.text)

    def _is_stopped(self) -> bool:
        return any(stop is not None and stop.is_set() for stop in (self._stop, self._slices_stop))

    def _go_on(self) -> None:
        if self._is_stopped():
            raise Interrupted

    def _pause(self, seconds: float) -> None:
        ends = time.monotonic() + seconds
        while (left := ends - time.monotonic()) > 0:
            self._go_on()
            time.sleep(min(left, _PAUSE_SECONDS))
