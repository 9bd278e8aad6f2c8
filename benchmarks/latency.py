"""How long a lone request takes on an idle system, from its event's Kafka timestamp to the row that a reader sees."""

import time
from collections.abc import Sequence

from devstack.cassandra import session
from devstack.ports import HOST
from tests.support.installation import Installation
from tests.support.tables import Learner

_LIMIT_SECONDS = 30.0
_PAUSE_SECONDS = 0.001


def lone_requests(
    installation: Installation, learners: Sequence[Learner], pause: float, look: float = _PAUSE_SECONDS
) -> list[float]:
    """Send a request for one learner after the other, each `pause` seconds after the last; gives milliseconds.

    The time includes the looks at the row, one each `look` seconds. They are a load on Cassandra themselves.
    """
    took = []
    with session(HOST, installation.ports.cassandra) as connected:
        read = connected.prepare(
            f"SELECT progress FROM {installation.keyspace}.user_enrolments"  # noqa: S608 - a keyspace of ours
            " WHERE userid = ? AND courseid = ? AND batchid = ?"
        )
        for learner in learners:
            time.sleep(pause)
            (sent,) = installation.send(learner)
            deadline = time.monotonic() + _LIMIT_SECONDS
            while connected.execute(read, learner.ids).one()[0] is None:
                installation.watch()
                if time.monotonic() > deadline:
                    raise TimeoutError(f"a lone request was not answered within {_LIMIT_SECONDS:.0f} s")
                time.sleep(look)
            took.append(time.time() * 1000 - sent.timestamp_ms)
    return took
