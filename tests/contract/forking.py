"""Publishes, forks, and publishes in the child too: `python -m tests.contract.forking BOOTSTRAP TOPIC`.

A program of its own: a fork takes along only the thread that forks, and the test runner has many, among them other
tests' producers. Ends with 0 when both events were confirmed.
"""

import os
import sys

from reconciliation.model import OutgoingEvent
from reconciliation.publisher import EventPublisher


def main(bootstrap: str, topic: str) -> int:
    """Return the exit code."""
    publisher = EventPublisher({"bootstrap.servers": bootstrap}, timeout=10.0)
    if publisher.publish([OutgoingEvent(topic, b"user", b"parent")]) != [None]:
        return 1
    child = os.fork()
    if child == 0:
        os._exit(0 if publisher.publish([OutgoingEvent(topic, b"user", b"child")]) == [None] else 2)
    _, status = os.waitpid(child, 0)
    publisher.close()
    return os.waitstatus_to_exitcode(status)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
