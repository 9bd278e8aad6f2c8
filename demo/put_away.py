"""Ends what a run started and removes what it made."""

import contextlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import redis
from rich.console import Console

from demo import processes
from demo.course import COURSES
from demo.kafka import remove_topics
from demo.rows import remove_relations
from demo.run import Notes
from demo.show import step
from devstack.ports import HOST
from devstack.schema import drop_keyspace
from devstack.stack import Stack

_END_LIMIT_SECONDS = 30.0
_REDIS_LIMIT_SECONDS = 10.0


def put_away(console: Console, notes: Notes) -> None:
    """End a run's processes, remove its topics, tables and keys, and end the servers that it started.

    What can't be removed is told and left; nothing is raised for it, so that the rest is put away nevertheless.
    """
    living = [it for it in notes.processes if processes.is_alive(it)]
    if living:
        with step(console, "Ended") as going:
            killed = processes.end(living, _END_LIMIT_SECONDS)
            going.detail = ", ".join(
                f"{it.name} (killed: it did not end by itself)" if it.name in killed else it.name for it in living
            )
    remove_data(console, notes)
    stack = Stack(notes.folder.parent, notes.run.ports)
    running = [name for name in notes.servers if stack.server(name).pid is not None]
    if running:
        with step(console, "Ended") as going:
            with ThreadPoolExecutor() as pool:
                list(pool.map(lambda name: stack.server(name).end(), running))
            going.detail = f"{', '.join(running)}, started for this run"
    notes.forget()


def remove_data(console: Console, notes: Notes) -> None:
    """Remove a run's topics, tables and keys from those servers that answer."""
    run = notes.run
    stack = Stack(notes.folder.parent, run.ports)
    if not any(server.answers() for server in stack.servers.values()):
        return
    with step(console, "Removed") as going:
        if stack.server("kafka").answers():
            with _told(console, f"the topics of {run.environment}"):
                remove_topics(run, run.group_id)
        if stack.server("cassandra").answers():
            with _told(console, f"keyspace {run.keyspace}"):
                drop_keyspace(HOST, run.ports.cassandra, run.keyspace)
        if stack.server("redis").answers():
            with _told(console, f"the keys of {run.group_id}"):
                remove_relations(run, COURSES)
                _remove_keys(notes)
        going.detail = f"topics, keyspace and keys of {run.environment}"


def _remove_keys(notes: Notes) -> None:
    """Remove the ledger's and Celery's keys, all of which carry the consumer group's name."""
    with redis.Redis.from_url(
        notes.run.ports.redis_url(),
        socket_timeout=_REDIS_LIMIT_SECONDS,
        socket_connect_timeout=_REDIS_LIMIT_SECONDS,
    ) as client:
        for key in client.scan_iter(match=f"*{notes.run.group_id}*", count=1000):
            client.delete(key)


@contextlib.contextmanager
def _told(console: Console, what: str) -> Iterator[None]:
    try:
        yield
    except Exception as error:  # noqa: BLE001 - whatever it is, the rest is still put away
        console.print(f"could not remove {what}: {type(error).__name__}: {error}")
