"""The demonstration from its first to its last line."""

import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from itertools import count

from rich.console import Console

from demo import parts, processes, show
from demo.check import Result, unmet
from demo.course import COURSES
from demo.errors import DemoError
from demo.interrupts import Interrupts
from demo.kafka import Event, Traffic
from demo.learners import LEARNERS, SHOWN_LEARNER
from demo.put_away import put_away, remove_data
from demo.requests import requests_of
from demo.rows import load_learners, load_relations, read_learners
from demo.run import Notes, Run, load_notes
from devstack.ports import HOST, free_port
from devstack.stack import Stack

_SETTLE_LIMIT_SECONDS = 90.0
_CLICK_PAUSE_SECONDS = 0.03
_COUNT_PAUSE_SECONDS = 0.2


def demonstrate(console: Console, stack: Stack, *, keep: bool) -> bool:
    """Run the demonstration; returns whether everything came out as it must.

    `keep` leaves everything running in the end. Raises DemoError, DevstackError and KeyboardInterrupt, after having
    put everything away.
    """
    interrupts = Interrupts()
    folder = stack.directory / "demo"
    left_behind = _left_behind(stack)
    notes = Notes(folder, Run.new(stack.ports))
    keeping = False
    try:
        _start_servers(console, stack, notes)
        if left_behind is not None:
            remove_data(console, left_behind)
        search_port = free_port()
        # they start while the rows are written
        with interrupts.shield():
            parts.start_parts(notes, search_port)
        with show.step(console, "Data") as going:
            going.detail = _load(notes)
        with show.step(console, "Parts") as going:
            parts.wait_ready(notes, search_port)
            going.detail = f"bridge, {parts.WORKERS} workers and Flower are ready"
        result = _run_traffic(console, notes, search_port)
        problems = _show(console, result)
        keeping = keep
    finally:
        interrupts.ignore()
        console.print()
        if not keeping:
            put_away(console, notes)
    if keep:
        _tell_kept(console, notes)
    _tell_flower(console, notes, keep=keep)
    return not problems


def _left_behind(stack: Stack) -> Notes | None:
    """Give what an earlier run could not put away. Raises DemoError while one still runs."""
    earlier = load_notes(stack.directory / "demo")
    if earlier is not None and any(processes.is_alive(it) for it in earlier.processes):
        raise DemoError(
            f"A demonstration is still running ({earlier.run.environment}).",
            "`make demo-stop` ends it; then start again.",
        )
    return earlier


def _start_servers(console: Console, stack: Stack, notes: Notes) -> None:
    run = notes.run
    ours = Stack(stack.directory, stack.ports, environment=run.environment, keyspace=run.keyspace)
    with show.step(console, "Servers", spinner=False) as going:
        running = [status.name for status in stack.status() if status.answers]
        notes.servers = [name for name in stack.servers if name not in running]
        notes.save()
        with show.servers(console) as report:
            ours.up(report)
        if notes.servers:
            going.detail = f"started {', '.join(notes.servers)} on {HOST}"
        else:
            going.detail = "Kafka, Cassandra and Redis ran already, and will stay"


def _load(notes: Notes) -> str:
    sets = load_relations(notes.run, COURSES)
    rows = load_learners(notes.run, LEARNERS)
    return f"{len(LEARNERS)} learners in {len(COURSES)} courses ({rows} rows, {sets} relation sets)"


def _run_traffic(console: Console, notes: Notes, search_port: int) -> Result:
    requests = requests_of(LEARNERS)
    traffic = Traffic(notes.run, notes.run.settings(search_port))
    began_at, began = datetime.now(UTC), time.monotonic()
    events: list[Event] = []
    settled = 0
    try:
        with show.step(console, "Requests", spinner=False) as going, show.live(console, len(requests)) as live:
            next_count = began
            for number in count():
                if number < len(requests):
                    traffic.send(requests[number])
                if number == len(requests):
                    traffic.flush()
                # so slow only that the eye can follow
                events += traffic.new_events(wait=_CLICK_PAUSE_SECONDS)
                now = time.monotonic()
                if now >= next_count:
                    settled, next_count = traffic.settled(), now + _COUNT_PAUSE_SECONDS
                    parts.check_alive(notes)
                live.update(live.task_ids[0], completed=settled, events=len(events))
                if settled >= len(requests):
                    break
                if now - began > _SETTLE_LIMIT_SECONDS:
                    raise DemoError(
                        f"{settled} of {len(requests)} requests are settled after {_SETTLE_LIMIT_SECONDS:.0f} s.",
                        f"Read {notes.folder}/*.log.",
                    )
            seconds = time.monotonic() - began
            events += traffic.remaining_events()
            going.detail = f"{settled} of {len(requests)} settled, {len(events)} events came out"
    finally:
        traffic.close()
    return Result(
        sent=len(requests),
        settled=settled,
        skipped=parts.metric(notes, "bridge", "skipped_events_count"),
        seconds=seconds,
        # Cassandra keeps milliseconds
        began=began_at - timedelta(milliseconds=1),
        rows=read_learners(notes.run, LEARNERS),
        certificates=_of_topic(events, traffic.certificate_topic),
        audits=_of_topic(events, traffic.audit_topic),
        failures=_of_topic(events, traffic.failed_topic),
    )


def _of_topic(events: Sequence[Event], topic: str) -> list[Event]:
    return [event for event in events if event.topic == topic]


def _show(console: Console, result: Result) -> list[str]:
    show.show_learners(console, LEARNERS, result)
    show.show_aggregates(console, SHOWN_LEARNER, result.rows[LEARNERS.index(SHOWN_LEARNER)])
    for title, events in (
        ("A certificate event", result.certificates),
        ("An audit event", result.audits),
        ("The failed event: a request without courseId", result.failures),
    ):
        if events:
            show.show_event(console, title, events[0])
    show.show_summary(console, LEARNERS, result)
    problems = unmet(LEARNERS, result)
    if problems:
        show.show_unmet(console, problems)
    else:
        console.print("✓ every row and every event is as it must be", style="green")
    return problems


def _tell_kept(console: Console, notes: Notes) -> None:
    run = notes.run
    console.print("Everything goes on running:", style="bold")
    for part in notes.processes:
        console.print(f"  {part.name:<10} process {part.pid:<8} {HOST}:{part.port}", soft_wrap=True)
    console.print(f"  ENV {run.environment}, keyspace {run.keyspace}, logs in {notes.folder}", soft_wrap=True)
    console.print("`make demo-stop` ends it.")


def _tell_flower(console: Console, notes: Notes, *, keep: bool) -> None:
    port = next(part.port for part in notes.processes if part.name == "flower")
    if keep:
        console.print(f"Flower shows the tasks: http://{HOST}:{port}/tasks")
    else:
        console.print(f"Flower was at http://{HOST}:{port} and has ended with the rest.")
        console.print("`make demo KEEP=1` leaves everything running, to look around in.")
