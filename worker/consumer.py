"""Celery's consumer, which takes only messages as the bridge makes them, and tells the worker's health how it fares.

Celery does whatever a message asks for: it runs its own built-in tasks (celery/app/builtins.py), sends what a message
names as callbacks (celery/app/trace.py, build_tracer), holds what has an ETA in memory beyond every bound
(celery/worker/strategy.py, task_message_handler), unpacks whatever its headers call packed (kombu/message.py,
Message.__init__), and ends over a header or body that is of a kind it does not expect. That message then comes back
(kombu/transport/virtual/base.py, QoS.restore_unacked_once) and ends the next worker too.
So whoever can write to the broker could do all that. Here they can ask for a reconciliation and for nothing else.
What a message was about stands in the ledger, so nothing is lost with it.
"""

import time
import warnings
from collections.abc import Callable
from typing import Any, ClassVar

import structlog
from celery.exceptions import CPendingDeprecationWarning
from celery.worker.consumer import Consumer
from kombu import compression, serialization

from ledger.messages import RECONCILE_TASK
from reconciliation.broker_options import MADE_OTHERWISE, made_otherwise
from reconciliation.settings import process_settings
from worker.connections import STOPPING
from worker.ending import end_in_time
from worker.health import BEAT_INTERVAL, CeleryLoop, serve
from worker.lane import CLICKS, ClicksFirst

log = structlog.get_logger(__name__)

#: The largest body that is read, in bytes: a group of 500 takes a tenth of it.
LARGEST_BODY = 256 * 1024
#: The longest header that is read, in characters. Flower shows some of them.
LONGEST_HEADER = 1024

#: How long until a queue that was refused is asked for again, in seconds.
_REFUSED_PAUSE = 5.0

# Celery adds it where queues are quorum queues.
_DELAYS = "celery.worker.consumer.delayed_delivery:DelayedDelivery"

# Headers by which a message would have Celery wait with it, throw it away, show it as another task or send further ones
# (the last four: a request's headers and what its body embeds are one, celery/app/trace.py, fast_trace_task).
_NEVER_SENT = ("eta", "expires", "group", "shadow", "callbacks", "errbacks", "chain", "chord")
# Headers that Celery iterates over, so that a number there ends the worker.
_ALWAYS_EMPTY = ("stamped_headers", "stamps")
# What Celery takes apart into two (celery/worker/request.py, execute_using_pool): anything else ends the worker.
_NO_TIME_LIMITS: tuple[object, ...] = (None, [], [None, None])
_CONTENT_TYPE = "application/json"
_ENCODINGS = (None, "utf-8")
# kombu takes these whatever it is told to accept, and has Python's codecs, bz2 and zlib among them, decode them by the
# encoding that the message names (kombu/serialization.py, loads).
_TAKEN_BESIDES = ("application/data", "application/text")
# What Celery's request takes from the properties (celery/worker/request.py, Request.__init__).
_USED_PROPERTIES = ("correlation_id", "reply_to", "priority")


class TolerantConsumer(Consumer):
    """Says that it turns, and throws away messages that are not as the bridge makes them."""

    class Blueprint(Consumer.Blueprint):  # type: ignore[valid-type, misc] # the stubs have a variable there
        """Celery's steps without the one that makes 28 exchanges and queues for delays, which we never ask for."""

        default_steps: ClassVar[list[str]] = [it for it in Consumer.Blueprint.default_steps if it != _DELAYS]

    connection_errors: tuple[type[BaseException], ...]
    controller: Any
    hub: Any
    pool: Any
    task_consumer: Any
    connection: Any
    _loop_health: CeleryLoop | None = None

    def start(self) -> None:
        """Serve metrics and health, and then consume until the worker ends."""
        unpack_nothing()
        self._loop_health = serve(self.pool)
        super().start()

    def close(self) -> None:
        """Give an end that no signal asked for its limit too, as Flower's button and `celery control shutdown` do.

        These raise WorkerShutdown in the loop (celery/worker/control.py, shutdown), and Celery sends
        worker_shutting_down from its signals' handlers alone (celery/apps/worker.py, _shutdown_handler). This is what
        every orderly end calls first, if it is there (celery/worker/worker.py, signal_consumer_close).
        """
        if not STOPPING.is_set():
            code = self.controller.exitcode
            # what a SystemExit carries may be anything
            end_in_time(code if isinstance(code, int) else int(code is not None))

    def register_with_event_loop(self, hub: Any) -> None:
        """Have the loop tell that it turns, until the connection ends (celery/worker/loops.py, asynloop)."""
        super().register_with_event_loop(hub)
        hub.call_repeatedly(BEAT_INTERVAL, self._turned)

    def perform_pending_operations(self) -> None:
        """Do what the loop does at each turn where it is no event loop (celery/worker/loops.py, synloop)."""
        super().perform_pending_operations()
        self._turned()

    def on_connection_error_after_connected(self, exc: Exception) -> None:
        """Tell of a queue that must be deleted first, and then try again as after any error of the connection."""
        if made_otherwise(exc):
            log.error("the broker refuses our queue", error=str(exc), what_to_do=MADE_OTHERWISE)
            # Celery would be back at once
            STOPPING.wait(_REFUSED_PAUSE)
        with warnings.catch_warnings():
            # about what celeryconfig.py sets; a filter of the whole process would be Celery's in the end (celery/app/
            # log.py, Logging.setup)
            warnings.simplefilter("ignore", CPendingDeprecationWarning)
            super().on_connection_error_after_connected(exc)

    def on_decode_error(self, message: Any, exc: Exception) -> None:
        """Throw away a message that could not even be unpacked, or a command. Celery would log all that stands in it.

        And it would end over one without a body (celery/worker/consumer/consumer.py, dump_body).
        """
        log.error("a message that can't be read is thrown away", reason=type(exc).__name__)
        message.ack_log_error(log, self.connection_errors)

    def create_task_handler(self, *arguments: Any, **named: Any) -> Callable[[Any], Any]:
        """Give what handles each message that comes."""
        handle = super().create_task_handler(*arguments, **named)
        lane, settings = self._lane(), process_settings()
        # where a click has to wait for a run's threads, these have no reason to rest
        is_told = self.pool.limit > settings.bulk_worker_threads

        def handle_ours(message: Any) -> Any:
            queue = message.delivery_info.get("routing_key")
            if is_told and queue != settings.bulk_queue:
                CLICKS.note()
            if lane is not None:
                lane.took(queue)
            strange = what_is_strange(message)
            if strange is None:
                return handle(message)
            # nothing that came is repeated: whoever made it up would write into the log
            log.error(
                "a message that is not the bridge's is thrown away; its requests come again with the sweep",
                reason=strange,
            )
            return message.ack_log_error(log, self.connection_errors)

        return handle_ours

    def _lane(self) -> ClicksFirst | None:
        """Have the channel, which is a new one with each connection, ask for clicks first; it asks for nothing yet."""
        settings, channel = process_settings(), self.task_consumer.channel
        if self.connection.transport.driver_type != "redis":
            return None
        most, most_without = settings.bulk_worker_threads, self.pool.limit - 1
        lane = ClicksFirst(channel, settings.bulk_queue, most, most_without, CLICKS)
        channel._queue_cycle = lane  # noqa: SLF001 - kombu makes its own by a name and gives it nothing to go by
        return lane

    def _turned(self) -> None:
        if self._loop_health is not None:
            self._loop_health.turned(time.monotonic())


def unpack_nothing() -> None:
    """Have kombu refuse, in this process, every body that is packed or left to a codec: nobody here sends one.

    A few KiB can unpack into gigabytes, and kombu unpacks before it hands a message over, in the consuming thread; of a
    control message, as `celery control` sends them, nothing else is looked at first.
    """
    for packed in compression.encoders():
        compression.register(_refuse, _refuse, packed)
    for content_type in _TAKEN_BESIDES:
        serialization.register(content_type, None, _refuse, content_type)


def _refuse(_body: object) -> bytes:
    raise ValueError("a body of ours is plain JSON")


def what_is_strange(message: Any) -> str | None:
    """Say in which way a message is not one of the bridge's, in words of ours; None where it is."""
    try:
        return _strange_headers(message.headers, message.properties) or _strange_body(message)
    except Exception as error:  # noqa: BLE001 - of what anybody may have made up, which must not come back again and again
        return f"it can't be looked at ({type(error).__name__})"


def _strange_headers(headers: object, properties: object) -> str | None:
    if not isinstance(headers, dict) or headers.get("task") != RECONCILE_TASK:
        return "it names another task, or none"
    if not isinstance(headers.get("id"), str) or not headers["id"]:
        return "it has no id"
    never_sent = any(headers.get(name) is not None for name in _NEVER_SENT)
    if never_sent or not all(_is_nothing(headers.get(name)) for name in _ALWAYS_EMPTY):
        return "it asks for more than an attempt"
    if headers.get("timelimit") not in _NO_TIME_LIMITS:
        return "it asks for more than an attempt"
    others = [value for name, value in headers.items() if name != "timelimit"]
    used = [properties.get(name) for name in _USED_PROPERTIES] if isinstance(properties, dict) else []
    if not all(_is_plain(value) for value in (*others, *used)):
        return "a header is of another kind, or too long"
    return None


def _strange_body(message: Any) -> str | None:
    """Say what is strange about a body, which is read only where nothing speaks against that."""
    return _strange_wrapping(message) or _strange_content(message)


def _strange_wrapping(message: Any) -> str | None:
    if not isinstance(message.body, bytes | str):
        return "its body is of another kind, or missing"
    if len(message.body) > LARGEST_BODY:
        return "its body is too large"
    if message.content_type != _CONTENT_TYPE or message.content_encoding not in _ENCODINGS:
        return "its body is not called JSON"
    return None


def _strange_content(message: Any) -> str | None:
    try:
        body = message.decode()
    except Exception as error:  # noqa: BLE001 - whatever a decoder says of a body that anybody may have made up
        return f"its body can't be read ({type(error).__name__})"
    match body:
        case [[] | (), dict(), None]:
            return None
        case [[] | (), dict(), dict() as embedded] if all(_is_nothing(value) for value in embedded.values()):
            return None
        case _:
            return "its body is no attempt's, or asks for more"


def _is_plain(value: object) -> bool:
    """Say whether a header is what the bridge's are: a short text, a number, or nothing at all."""
    if isinstance(value, str):
        return len(value) <= LONGEST_HEADER
    return isinstance(value, bool | int) or _is_nothing(value)


def _is_nothing(value: object) -> bool:
    """Say whether it is None, or an empty list or dictionary."""
    return value is None or (isinstance(value, list | tuple | dict) and not value)
