"""Logging of a process: our records, the libraries' and Python's warnings go one way, to standard error."""

import logging
import sys
import threading
from collections.abc import Sequence
from io import StringIO
from types import TracebackType
from typing import TextIO

import structlog
from structlog.typing import EventDict, ExcInfo, Processor

from reconciliation.log_noise import NoiseFilter
from reconciliation.log_rows import Rows, as_json, as_text
from reconciliation.printing import printable
from reconciliation.redis_options import readable

# Their INFO tells each connection, heartbeat or request; pyhocon's DEBUG tells the values of settings.
_NOISY = ("amqp", "cassandra", "celery", "confluent_kafka", "kombu", "pyhocon", "urllib3")

# What these tell with a traceback is a server that is away. A task's own errors come from celery.app and keep theirs.
_TRACEBACKS_SHORTENED = ("amqp", "cassandra", "celery.bootsteps", "celery.worker", "kombu")

# While a server is away these tell so with every try.
_REPEATING = ("amqp", "cassandra", "celery.bootsteps", "celery.worker", "confluent_kafka", "kombu", "urllib3")

#: Where Kafka's client logs to; without one librdkafka writes lines of its own form to standard error.
KAFKA_LOGGER = "confluent_kafka"


# What the driver tells beside the error that it raises, for every attempt to connect: worker/connections.py tells it
# once, and again at growing intervals.
_TOLD_ALREADY = ("[control connection] Error connecting to", "Control connection failed to connect")
# What Cassandra says to a version of its protocol that it does not take: then the next is tried (store_connection.py).
_VERSION_REFUSED = "Rejecting Protocol Version"
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
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Formatter(form, shared, is_coloured=form != "json" and sys.stderr.isatty()))
    handler.addFilter(is_news)
    handler.addFilter(NoiseFilter(_REPEATING))
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(level.upper())
    for name in _NOISY:
        logging.getLogger(name).setLevel(max(logging.WARNING, root.level))
    # with each loss of the broker it tells as an error which of Celery's own parts were not there to be restarted
    logging.getLogger("celery.bootsteps").setLevel(logging.CRITICAL)
    logging.captureWarnings(capture=True)
    sys.excepthook = _tell_end
    threading.excepthook = _tell_thread_end
    for warning in warnings:
        structlog.get_logger(__name__).warning(warning)


class _Formatter(structlog.stdlib.ProcessorFormatter):
    """Makes one line of a record, and several of one that carries rows (reconciliation/log_rows.py)."""

    def __init__(self, form: str, shared: Sequence[Processor], *, is_coloured: bool) -> None:
        super().__init__(
            foreign_pre_chain=[_shorten_traceback, _name_the_broker, *shared],
            processors=[self.remove_processors_meta, *_ending(form, is_coloured=is_coloured)],
        )
        self._format_rows = as_json if form == "json" else as_text

    def format(self, record: logging.LogRecord) -> str:
        """Give what is written for a record."""
        if isinstance(record.msg, Rows):
            return self._format_rows(record, record.msg)
        return super().format(record)


def is_news(record: logging.LogRecord) -> bool:
    """Say whether a record is told: what a driver tells beside the error that it raises is not."""
    if record.name == "cassandra.connection":
        return _VERSION_REFUSED not in record.getMessage()
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


def _ending(form: str, *, is_coloured: bool) -> list[Processor]:
    if form == "json":
        return [structlog.processors.format_exc_info, structlog.processors.JSONRenderer()]
    # structlog's own choice, where rich is installed, shows the variables of every frame: passwords, learners' ids
    return [
        _make_printable,
        structlog.dev.ConsoleRenderer(colors=is_coloured, exception_formatter=_write_traceback),
    ]


def _make_printable(_logger: object, _method: str, event: EventDict) -> EventDict:
    """Keep every record on its line: an id may hold line breaks, and what looks like a record of ours behind them.

    Of the renderer's values some are quoted and some stand as they are (structlog/dev.py, ConsoleRenderer).
    """
    for name, value in event.items():
        if isinstance(value, str):
            event[name] = printable(value)
    return event


def _write_traceback(stream: TextIO, exc_info: ExcInfo) -> None:
    """Write a traceback with its lines set in, so that no line of an error's text stands where a record begins."""
    written = StringIO()
    structlog.dev.plain_traceback(written, exc_info)
    stream.writelines("\n    " + printable(line) for line in written.getvalue().strip().split("\n"))


def _tell_end(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """Log what ends the process, in the form of every other record."""
    if issubclass(kind, KeyboardInterrupt):
        sys.__excepthook__(kind, error, trace)
        return
    structlog.get_logger(__name__).critical("the process ends with an error", exc_info=(kind, error, trace))


def _tell_thread_end(ended: threading.ExceptHookArgs) -> None:
    """Log what ends a thread; SystemExit is an end as any other (threading.excepthook)."""
    if ended.exc_value is None or issubclass(ended.exc_type, SystemExit):
        return
    name = ended.thread.name if ended.thread is not None else None
    error = (ended.exc_type, ended.exc_value, ended.exc_traceback)
    structlog.get_logger(__name__).error("a thread ended with an error", thread=name, exc_info=error)
