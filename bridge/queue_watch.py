"""Asks Celery's broker how many messages wait, in a thread of its own: a broker that hangs holds up no round."""

import threading
from collections.abc import Callable, Mapping

import structlog
from celery import Celery
from kombu import Connection

from bridge.dispatch import CONNECT_ONCE
from bridge.queue_length import queue_length

log = structlog.get_logger(__name__)

#: How long the thread may take to end, in seconds; it is left behind then.
_GRACE = 1.0


class QueueWatch:
    """Tells again and again how long queues are.

    Args:
        app: Celery's settings.
        reports: for each queue, by its name, what is given each answer, None while the broker does not answer.
        interval: seconds between two questions.

    """

    def __init__(self, app: Celery, reports: Mapping[str, Callable[[int | None], object]], interval: float) -> None:
        self._app = app
        self._reports = reports
        self._interval = interval
        self._connection: Connection | None = None
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._run, name="queue-watch", daemon=True)

    def start(self) -> None:
        """Begin to ask."""
        self._thread.start()

    def close(self) -> None:
        """Ask no more."""
        self._ending.set()
        if self._thread.is_alive():
            self._thread.join(_GRACE)

    def _run(self) -> None:
        while not self._ending.is_set():
            for queue, report in self._reports.items():
                report(self._length(queue))
            self._ending.wait(self._interval)
        self._disconnect()

    def _length(self, queue: str) -> int | None:
        try:
            # nothing waits in a queue that is not there yet
            return queue_length(self._open(), queue) or 0
        except Exception as error:  # noqa: BLE001 - each transport raises its own, and none may end the thread
            log.debug("the broker does not tell the queue's length", error=f"{type(error).__name__}: {error}")
            self._disconnect()
            return None

    def _open(self) -> Connection:
        if self._connection is None:
            self._connection = self._app.connection_for_read(transport_options=CONNECT_ONCE)
        return self._connection

    def _disconnect(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            try:
                connection.close()
            except Exception as error:  # noqa: BLE001 - as above
                log.debug("closing the broker's connection failed", error=f"{type(error).__name__}: {error}")
