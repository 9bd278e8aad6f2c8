"""Logging of a process: our records and the libraries' go one way, to standard error."""

import logging
import sys
from collections.abc import Sequence

import structlog
from structlog.typing import EventDict, Processor

from reconciliation.redis_options import readable

# Their INFO tells each connection, heartbeat or request; pyhocon's DEBUG tells the values of settings.
_NOISY = ("amqp", "cassandra", "celery", "confluent_kafka", "kombu", "pyhocon", "urllib3")


# What these tell with a traceback is a server that is away. A task's own errors come from celery.app and keep theirs.
_TRACEBACKS_SHORTENED = ("amqp", "cassandra", "celery.bootsteps", "celery.worker", "kombu")


# What the driver tells beside the error that it raises, for every attempt to connect: worker/connections.py tells it
# once, and again at growing intervals.
_TOLD_ALREADY = ("[control connection] Error connecting to", "Control connection failed to connect")
# Celery's own word for its broker being away, with the addresses alone.
_BROKER_AWAY = "consumer: Cannot connect to"


def configure_logging(form: str, level: str, warnings: Sequence[str] = ()) -> None:
    """Write every record from `level` on to standard error, as one JSON object a line or for people to read.

    `form` and `level` are `log.format` and `log.level` of docs/settings.md. Times are UTC, ISO 8601. Calling it
    again replaces what an earlier call set up. Call it once a process, before anything is logged. `warnings` are what
    there was to say before, such as `Settings.warnings`.
    """
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.add_log_level,
        structlog.stdlib.ExtraAdder(),
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.stdlib.PositionalArgumentsFormatter(),
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=False,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.addFilter(_is_news)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[_shorten_traceback, _name_the_broker, *shared],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *_ending(form)],
        )
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(level.upper())
    for name in _NOISY:
        logging.getLogger(name).setLevel(max(logging.WARNING, root.level))
    for warning in warnings:
        structlog.get_logger(__name__).warning(warning)


def _is_news(record: logging.LogRecord) -> bool:
    return record.name != "cassandra.cluster" or not str(record.msg).startswith(_TOLD_ALREADY)


def _name_the_broker(_logger: object, _method: str, event: EventDict) -> EventDict:
    """Put Celery's word for its broker being away on one line, with the setting that leads there."""
    if event["event"].startswith(_BROKER_AWAY):
        event["event"] = readable(event["event"])
        event["settings"] = "celery.broker.url (CELERY_BROKER_URL), celery.broker.sentinel and celery.broker.ssl"
    return event


def _shorten_traceback(_logger: object, _method: str, event: EventDict) -> EventDict:
    """Tell a library's error in one line: while a server is away, its tracebacks are hundreds and say nothing more."""
    if event["_record"].name.startswith(_TRACEBACKS_SHORTENED) and event.get("exc_info"):
        _, error, _ = event.pop("exc_info")
        event["error"] = f"{type(error).__name__}: {error}"
    return event


def _ending(form: str) -> list[Processor]:
    if form == "json":
        return [structlog.processors.format_exc_info, structlog.processors.JSONRenderer()]
    # structlog's own choice, where rich is installed, shows the variables of every frame: passwords, learners' ids
    return [
        structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty(), exception_formatter=structlog.dev.plain_traceback)
    ]
