"""Celery's consumer, which ends over a message whose body is no task's, made to throw it away instead.

Of a body such as `null` Celery makes no error that it handles (celery/worker/consumer/consumer.py, create_task_handler;
celery/worker/strategy.py, task_message_handler): the worker ends, gives the message back as it does, and meets it again
at its next start. Nothing is lost with it: what a message was about stands in the ledger.
"""

from collections.abc import Callable
from typing import Any

import structlog
from celery.worker.consumer import Consumer

log = structlog.get_logger(__name__)


class TolerantConsumer(Consumer):
    """Throws away messages that Celery's own consumer would end over."""

    connection_errors: tuple[type[BaseException], ...]

    def create_task_handler(self, *arguments: Any, **named: Any) -> Callable[[Any], Any]:
        """Give what handles each message that comes."""
        handle = super().create_task_handler(*arguments, **named)

        def handle_readable(message: Any) -> Any:
            if _is_no_task(message):
                log.error("a message that is no task's is thrown away; its requests come again with the sweep")
                return message.ack_log_error(log, self.connection_errors)
            return handle(message)

        return handle_readable


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
