"""The local servers' command line: `python -m devstack up|down|status`."""

import os
import sys

import click
from rich.console import Console

from devstack.cassandra import VERSIONS
from devstack.errors import DevstackError
from devstack.locking import write_locks
from devstack.report import progress
from devstack.stack import Stack


@click.group()
def main() -> None:
    """Run Kafka, Cassandra and Redis on 127.0.0.1, without Docker and without root.

    DEVSTACK_KAFKA_PORT, DEVSTACK_CASSANDRA_PORT and DEVSTACK_REDIS_PORT move the ports (19092, 19042, 16379),
    DEVSTACK_DIR the data (.devstack/), DEVSTACK_CACHE the packages (.cache/devstack/). DEVSTACK_CASSANDRA chooses the
    version of Cassandra. DEVSTACK_RABBITMQ_PORT=… starts a RabbitMQ there, too, where one is installed. Ports that the
    servers keep for themselves are taken from DEVSTACK_FREE_PORTS (20000-26000).
    """


@main.command()
@click.option(
    "--cassandra",
    type=click.Choice(VERSIONS),
    default=lambda: os.environ.get("DEVSTACK_CASSANDRA", "").strip() or VERSIONS[0],
    help=f"The version of Cassandra, each with data of its own.  [default: DEVSTACK_CASSANDRA, or {VERSIONS[0]}]",
)
def up(cassandra: str) -> None:
    """Start the servers that do not run, and return when all of them answer."""
    with progress(Console()) as report:
        Stack.from_environment({**os.environ, "DEVSTACK_CASSANDRA": cassandra}).up(report)


@main.command()
@click.option("--delete", is_flag=True, help="Remove the data, too.")
def down(delete: bool) -> None:
    """End the servers; their data stays."""
    with progress(Console()) as report:
        Stack.from_environment(os.environ).down(report, delete=delete)


@main.command()
def status() -> None:
    """Say which servers run and answer; exit code 0 when all do, else 1."""
    servers = Stack.from_environment(os.environ).status()
    for server in servers:
        state = "answers" if server.answers else "does not answer" if server.pid else "is not running"
        print(f"{server.name:<10}{server.address:<17}{state}{f', process {server.pid}' if server.pid else ''}")
    if not all(server.answers for server in servers):
        sys.exit(1)


@main.command()
def lock() -> None:
    """Resolve the servers' packages again and rewrite the lock files (after a version was changed)."""
    with progress(Console()) as report:
        write_locks(report)


if __name__ == "__main__":
    try:
        main(prog_name="python -m devstack")
    except DevstackError as error:
        print(error, file=sys.stderr)
        sys.exit(1)
