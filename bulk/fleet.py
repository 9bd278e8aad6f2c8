"""Reader processes side by side: their slices are put in order, and one that is lost is replaced."""

import multiprocessing
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from queue import Empty, SimpleQueue

from bulk.model import Slice, TokenRange
from bulk.reader_process import Answer, Assignment, Broken, Done, Look, Order, Spill, Told, read_ranges
from reconciliation.errors import ScanFailed, SettingsError

#: How many slices wait for those before them at most, and how much is in them: the enrolments that were found, and the
#: contents that their changes tell of, at some hundred bytes each. Beyond that only the process that is next is
#: listened to.
MOST_WAITING = 16
MOST_TOLD_WAITING = 200_000
#: How many ranges a process may be ahead of the one that is next.
_AHEAD = 4
_MOST_LOSSES = 5
_LOOK_SECONDS = 0.2
_END_SECONDS = 3.0


@dataclass(slots=True)
class _Reader:
    """A process, its pipe, when it was last heard, and the order that it carries out with its place among them."""

    process: SpawnProcess
    pid: int
    connection: Connection
    heard: float
    place: int | None = None
    order: Order | None = None


@dataclass(slots=True)
class _Place:
    """What has come of one order: slices that nobody has taken yet, how much is in each, and whether all have come."""

    slices: deque[Slice] = field(default_factory=deque)
    told: deque[int] = field(default_factory=deque)
    done: Done | None = None

    def put(self, part: Slice) -> None:
        """Have a slice wait."""
        self.slices.append(part)
        self.told.append(_told_in(part))

    def take(self) -> Slice:
        """Take the slice that has waited longest."""
        self.told.popleft()
        return self.slices.popleft()


class Fleet:
    """Some reader processes, started by the first order and ended by `close`.

    Args:
        assignment: what they are made for; the rate in it is that of all together.
        count: how many.
        tell: takes sentences for people.
        stop: says whether to end; asked several times a second.
        silence: a process at work from which nothing is heard for so long is replaced, in seconds.

    """

    def __init__(
        self,
        assignment: Assignment,
        count: int,
        *,
        tell: Callable[[str], object],
        stop: Callable[[], bool],
        silence: float,
    ) -> None:
        rate = assignment.most_per_second
        self._assignment = replace(assignment, most_per_second=None if rate is None else rate / count)
        self._count = count
        self._tell = tell
        self._stop = stop
        self._silence = silence
        self._readers: list[_Reader] = []
        self._losses = 0

    def pids(self) -> list[int]:
        """Give the processes' ids."""
        return [reader.pid for reader in list(self._readers)]

    def close(self) -> None:
        """End all processes: at their next look at the pipe, or at once after some seconds."""
        for reader in self._readers:
            reader.connection.close()
        ends = time.monotonic() + _END_SECONDS
        for reader in self._readers:
            reader.process.join(max(0.0, ends - time.monotonic()))
            _end(reader.process)
        self._readers.clear()

    def carry_out(self, orders: Sequence[Order]) -> Iterator[Slice | Done]:
        """Give what each order led to, in their order: its slices, then `Done`.

        Ends early where `stop` says so. Raises ScanFailed and SettingsError.
        """
        places = [_Place() for _ in orders]
        following = 0
        first = 0
        while first < len(orders):
            place = places[first]
            if place.slices:
                yield place.take()
                self._resumed()
                continue
            if place.done is not None:
                yield place.done
                self._resumed()
                first += 1
                continue
            if self._stop():
                return
            following = self._give_out(orders, following, first)
            self._listen(places, first)

    def _resumed(self) -> None:
        # while nobody asked us, nothing was listened to
        for reader in self._readers:
            reader.heard = time.monotonic()

    def _give_out(self, orders: Sequence[Order], following: int, first: int) -> int:
        while len(self._readers) < min(self._count, len(orders)):
            self._readers.append(self._started())
        for reader in self._readers:
            if reader.order is None and following < min(len(orders), first + _AHEAD * self._count):
                reader.place, reader.order, reader.heard = following, orders[following], time.monotonic()
                following += 1
                self._send(reader)
        return following

    def _send(self, reader: _Reader) -> None:
        # one that is gone is noticed when it is listened to
        with suppress(OSError):
            reader.connection.send(reader.order)

    def _listen(self, places: Sequence[_Place], first: int) -> None:
        waiting = [it for place in places[first : first + _AHEAD * self._count] for it in place.told]
        is_full = len(waiting) >= MOST_WAITING or sum(waiting) >= MOST_TOLD_WAITING
        heeded = [it for it in self._readers if it.order is not None and (it.place == first or not is_full)]
        ready = wait([it.connection for it in heeded], _LOOK_SECONDS)
        for reader in heeded:
            if reader.connection in ready:
                self._hear(reader, places)
            elif time.monotonic() - reader.heard > self._silence:
                self._replace(reader, f"nothing was heard of it for {self._silence:g} s", places)

    def _hear(self, reader: _Reader, places: Sequence[_Place]) -> None:
        try:
            answer = self._received(reader)
        except (EOFError, OSError):
            reader.process.join(_END_SECONDS)
            self._replace(reader, f"it ended with exit code {reader.process.exitcode}", places)
            return
        if answer is None:
            if not self._stop():
                self._replace(reader, f"it stopped in the middle of a message for {self._silence:g} s", places)
            return
        reader.heard = time.monotonic()
        assert reader.place is not None  # noqa: S101 - for the type checker: only one with an order is listened to
        match answer:
            case Slice():
                places[reader.place].put(answer)
                if isinstance(reader.order, Look):
                    # whoever takes over goes on after it
                    rest = TokenRange(answer.tokens.until, reader.order.tokens.until)
                    reader.order = replace(reader.order, tokens=rest)
            case Done():
                places[reader.place].done = answer
                reader.place = reader.order = None
            case Broken(text, is_setting):
                raise SettingsError(text) if is_setting else ScanFailed(text)
            case Told(text):
                if text:
                    self._tell(text)

    def _received(self, reader: _Reader) -> Answer | None:
        """Receive a message of which the first bytes are there; None where the rest does not come, or `stop` says so.

        Its process has ended then. Raises EOFError and OSError where that had ended by itself.
        """
        received: SimpleQueue[Answer | BaseException] = SimpleQueue()
        # a pipe is read without a limit (multiprocessing/connection.py, Connection._recv): whoever waits here need not
        thread = threading.Thread(target=_receive, args=(reader.connection, received), daemon=True)
        thread.start()
        ends = time.monotonic() + self._silence
        while True:
            try:
                answer = received.get(timeout=_LOOK_SECONDS)
            except Empty:
                if time.monotonic() < ends and not self._stop():
                    continue
                # with it the pipe ends, and so the thread, before somebody closes what it reads from
                reader.process.kill()
                thread.join(_END_SECONDS)
                return None
            if isinstance(answer, BaseException):
                raise answer
            return answer

    def _replace(self, reader: _Reader, why: str, places: Sequence[_Place]) -> None:
        """Have another process go on where this one is lost. Raises ScanFailed where that happens again and again."""
        self._losses += 1
        if self._losses > _MOST_LOSSES:
            raise ScanFailed(
                f"{self._losses} reader processes were lost, the last one since {why}: is there memory enough for "
                f"{self._count} of them?"
            )
        self._tell(f"a reader process was lost ({why}): another goes on in its place")
        reader.connection.close()
        _end(reader.process)
        order = reader.order
        fresh = self._started()
        reader.process, reader.pid = fresh.process, fresh.pid
        reader.connection, reader.heard = fresh.connection, fresh.heard
        if isinstance(order, Look) and order.tokens.after == order.tokens.until and reader.place is not None:
            # only its last word was missing
            places[reader.place].done = Done()
            reader.place = reader.order = None
            return
        if isinstance(order, Spill):
            # what the lost one wrote under its name is not used
            reader.order = replace(order, name=f"{order.name}-again{self._losses}")
        self._send(reader)

    def _started(self) -> _Reader:
        context = multiprocessing.get_context("spawn")
        ours, theirs = context.Pipe()
        process = context.Process(target=read_ranges, args=(theirs, self._assignment), daemon=True)
        process.start()
        # only the process itself holds it now: when that ends, so does the pipe
        theirs.close()
        return _Reader(process, process.pid or 0, ours, time.monotonic())


def _told_in(part: Slice) -> int:
    values = (value for found in part.found for change in found.changes for value in (change.before, change.after))
    return len(part.found) + sum(len(value) for value in values if isinstance(value, Mapping))


def _receive(connection: Connection, received: "SimpleQueue[Answer | BaseException]") -> None:
    try:
        received.put(connection.recv())
    except Exception as error:  # noqa: BLE001 - raised by whoever waits
        received.put(error)


def _end(process: SpawnProcess) -> None:
    if process.is_alive():
        process.kill()
        process.join(_END_SECONDS)
    if not process.is_alive():
        process.close()
