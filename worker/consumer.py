"""Celery's consumer, which tells the worker's health how its loop fares, and survives a message that is no task's.

Without us it ends over one.

Of a body such as `null` Celery makes no error that it handles (celery/worker/consumer/consumer.py, create_task_handler;
celery/worker/strategy.py, task_message_handler): the worker ends, gives the message back as it does, and meets it again
at its next start. Nothing is lost with it: what a message was about stands in the ledger.
"""

import time
from collections.abc import Callable
from typing import Any

import structlog
from celery.worker.consumer import Consumer

from worker.health import BEAT_INTERVAL, CeleryLoop, serve

log = structlog.get_logger(__name__)


class TolerantConsumer(Consumer):
    """Says that it turns, and throws away messages that Celery's own consumer would end over."""

    connection_errors: tuple[type[BaseException], ...]
    hub: Any
    pool: Any
    _loop_health: CeleryLoop | None = None

    def start(self) -> None:
        """Serve metrics and health, and then consume until the worker ends."""
        self._loop_health = serve(self.pool)
        super().start()

    def register_with_event_loop(self, hub: Any) -> None:
        """Have the loop tell that it turns, until the connection ends (celery/worker/loops.py, asynloop)."""
        super().register_with_event_loop(hub)
        hub.call_repeatedly(BEAT_INTERVAL, self._turned)

    def perform_pending_operations(self) -> None:
        """Do what the loop does at each turn where it is no event loop (celery/worker/loops.py, synloop)."""
        super().perform_pending_operations()
        self._turned()

    def create_task_handler(self, *arguments: Any, **named: Any) -> Callable[[Any], Any]:
        """Give what handles each message that comes."""
        handle = super().create_task_handler(*arguments, **named)

        def handle_readable(message: Any) -> Any:
            if _is_no_task(message):
                log.error("a message that is no task's is thrown away; its requests come again with the sweep")
                return message.ack_log_error(log, self.connection_errors)
            return handle(message)

        return handle_readable

    def _turned(self) -> None:
        if self._loop_health is not None:
            self._loop_health.turned(time.monotonic())


def _is_no_task(message: Any) -> bool:
    """Say whether a message names a task but does not carry one: arguments, named arguments and the rest."""
    if not isinstance(message.headers, dict) or "task" not in message.headers:
        return False  # Celery looks at these
    try:
        body = message.decode()
    except Exception:  # noqa: BLE001 - a body that can't be decoded is told of and thrown away by Celery itself
        return False
    match body:
        case [list() | tuple(), dict(), dict() | None]:
            return False
        case _:
            return True
