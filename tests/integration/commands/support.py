"""What the tests of the commands on topics share: learners in every state, and failed events by the thousand."""

import json
import subprocess
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from confluent_kafka import Producer

from reconciliation.failed_event import failed_event
from reconciliation.model import FinalFailure, OutgoingEvent, Record
from tests.support.installation import Ended, Installation
from tests.support.relations import course_of_units
from tests.support.tables import Learner

#: Failures come soon.
SETTINGS = {"RETRY_ATTEMPTS": "2", "RETRY_BACKOFF_FIRST": "0.2", "LEDGER_SWEEP_INTERVAL": "0.1"}

COMMAND = str(Path(sys.executable).with_name("enrolment-reconciliation"))


def give_course(installation: Installation, *learners: Learner) -> None:
    """Fill the relations of these learners' courses: one unit with one content."""
    installation.relations.fill(*(course_of_units(learner.course, {"unit": {"a"}}) for learner in learners))


def enrol(installation: Installation, *learners: Learner) -> None:
    """Enrol learners who have completed their content; without `give_course` their requests fail."""
    installation.tables.add_consumption({learner: {"a": 2} for learner in learners})
    installation.tables.add_enrolments(learners)


def ids(learner: Learner) -> tuple[str, ...]:
    """Name a learner as commands want it."""
    return "--user", learner.user, "--course", learner.course, "--batch", learner.batch


def lines(out: str) -> list[dict[str, Any]]:
    """Read JSON lines."""
    return [json.loads(line) for line in out.splitlines()]


def run(
    installation: Installation, *arguments: str, stdin: bytes = b"", settings: Mapping[str, str] | None = None
) -> Ended:
    """Run a command with something on its standard input, however it ends."""
    environment = {**installation.settings, **(settings or {})}
    ended = subprocess.run(
        [COMMAND, *arguments], env=environment, input=stdin, capture_output=True, timeout=120, check=False
    )
    return Ended(ended.args, ended.returncode, ended.stdout.decode(), ended.stderr.decode())


def publish(installation: Installation, events: Iterable[OutgoingEvent]) -> None:
    """Send events with their headers and wait until Kafka has them all."""
    producer = Producer({"bootstrap.servers": installation.ports.bootstrap, "acks": "all", "linger.ms": 20})
    problems: list[str] = []
    for event in events:
        producer.produce(
            event.topic,
            event.value,
            event.key,
            headers=list(event.headers),
            on_delivery=lambda error, _message: problems.append(str(error)) if error is not None else None,
        )
        producer.poll(0)
    assert producer.flush(60) == 0
    assert problems == []


def fail(installation: Installation, record: Record, failure: FinalFailure, max_bytes: int = 900_000) -> OutgoingEvent:
    """Make the failed event of a record as bridge and workers make it."""
    return failed_event(record, failure, installation.failed_topic, max_bytes)


#: Runs the command line, and ends with the most memory it held (kilobytes) and the seconds of processor time it took on
#: standard error. Not by getrusage: there a child begins with what its parent held (Linux, fs/exec.c, exec_mmap).
MEASURED = """
import resource, sys
from pathlib import Path
from commands.main import main
try:
    main(sys.argv[1:])
finally:
    status = Path("/proc/self/status").read_text().splitlines()
    peak = next(line.split()[1] for line in status if line.startswith("VmHWM:"))
    print(peak, resource.getrusage(resource.RUSAGE_SELF).ru_utime, file=sys.stderr)
"""
