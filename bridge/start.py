"""Puts a bridge together from the settings, and runs it until it is told to stop."""

import os
import signal
import sys
import threading
import time
from collections.abc import Callable

import structlog
from prometheus_client import CollectorRegistry, ProcessCollector

from bridge.bridge import Bridge, Parts
from bridge.dispatch import BulkLane, Dispatcher, make_app
from bridge.health import BridgeHealth
from bridge.kafka_input import KafkaInput
from bridge.metrics import BridgeMetrics
from bridge.queue_watch import QueueWatch
from bridge.sweep import Sweeper
from ledger.comparisons import Comparisons
from ledger.config import ledger_config
from ledger.ledger import Ledger
from reconciliation.build_info import release
from reconciliation.counters import Counters
from reconciliation.errors import SettingsError
from reconciliation.failed_topic import FailedTopic, FailurePlace
from reconciliation.kafka_options import connection_options
from reconciliation.logs import configure_logging
from reconciliation.metrics_endpoint import serve_metrics
from reconciliation.publisher import EventPublisher
from reconciliation.settings import Settings, process_settings
from reconciliation.settings_urls import masked
from reconciliation.shadow import SHADOW_WARNING
from reconciliation.shadow_failures import CountedFailures

log = structlog.get_logger(__name__)

#: How long the round in hand may take after SIGTERM, in seconds; what it has not committed is read again.
GRACE = 8.0

#: How often the broker is asked for the queue's length at most, in seconds.
LEAST_QUEUE_INTERVAL = 2.0


def build(settings: Settings) -> Bridge:
    """Make a bridge with its connections; none of them asks its server anything yet.

    Raises SettingsError where librdkafka refuses what the settings say of Kafka.
    """
    registry = CollectorRegistry()
    ProcessCollector(registry=registry)
    metrics = BridgeMetrics(registry)
    ledger = Ledger(ledger_config(settings))
    app = make_app()
    dispatcher = Dispatcher(app, settings.group_size, BulkLane(settings.bulk_queue, settings.bulk_group_size))
    kafka = connection_options(settings)
    queue_interval = max(LEAST_QUEUE_INTERVAL, settings.ledger_sweep_interval)
    parts = Parts(
        ledger=ledger,
        dispatcher=dispatcher,
        sweeper=Sweeper(ledger, dispatcher, settings.ledger_sweep_interval, settings.ledger_lease / 3),
        failed_topic=_failure_place(settings, metrics.counters),
        metrics=metrics,
        health=BridgeHealth(settings.health_limit, time.monotonic()),
        queue_watch=QueueWatch(
            app,
            {settings.kafka_group_id: metrics.gauges.queued, settings.bulk_queue: metrics.gauges.bulk.queued},
            queue_interval,
        ),
        batch_sync=settings.batch_sync_accepted,
    )

    def make_input(on_leave: Callable[[list[int], bool], None]) -> KafkaInput:
        return KafkaInput(
            kafka,
            settings.kafka_input_topic,
            settings.kafka_group_id,
            min(settings.kafka_timeout, GRACE / 2),
            on_leave,
        )

    bridge = Bridge(parts, make_input, settings.poll_records, settings.ledger_max_open)
    serve_metrics(registry, settings.metrics_address, settings.metrics_bridge_port, "metrics.bridge.port", parts.health)
    return bridge


def _failure_place(settings: Settings, counters: Counters) -> FailurePlace:
    """Make where records go that can't be requests: in shadow mode they are counted, and there is no publisher."""
    if settings.shadow_enabled:
        report = Comparisons(ledger_config(settings), now_ms=lambda: time.time_ns() // 1_000_000)
        return CountedFailures(report, counters)
    publisher = EventPublisher(connection_options(settings), settings.kafka_timeout)
    publisher.verify()
    return FailedTopic(publisher, settings.kafka_output_failed_topic, counters)


class Runner:
    """Runs a bridge in a thread of its own, so that a signal is heard whatever call the bridge waits in.

    Args:
        run: the bridge's `run`.
        on_stop: called when a signal asks it to end.

    """

    def __init__(self, run: Callable[[Callable[[], bool]], None], on_stop: Callable[[], None]) -> None:
        self._run = run
        self._on_stop = on_stop
        self._stopped = threading.Event()
        self._error: Exception | None = None
        self._thread = threading.Thread(target=self._run_until_stopped, name="bridge", daemon=True)

    def run(self) -> None:
        """Run until SIGTERM or SIGINT; whatever ends the bridge before is raised.

        Ends the process with code 0 where the bridge does not end within `GRACE` seconds after the signal.
        """
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._stop)
        self._thread.start()
        while self._thread.is_alive() and not self._stopped.is_set():
            self._thread.join(1.0)
        self._thread.join(GRACE)
        if self._thread.is_alive():
            log.warning("stopped in the middle of a round: what it has not committed is read again")
            os._exit(0)
        if self._error is not None:
            raise self._error
        log.info("the bridge has stopped")

    def _stop(self, number: int, _frame: object) -> None:
        log.info("stopping after what is in hand; a second signal stops at once", signal=signal.Signals(number).name)
        for each in (signal.SIGTERM, signal.SIGINT):
            signal.signal(each, self._stop_at_once)
        self._on_stop()
        self._stopped.set()

    def _stop_at_once(self, _number: int, _frame: object) -> None:
        # nothing is lost by it, as by a kill: what is not committed is read again
        os._exit(0)

    def _run_until_stopped(self) -> None:
        try:
            self._run(self._stopped.is_set)
        except Exception as error:  # noqa: BLE001 - raised again in the main thread
            self._error = error


def start() -> int:
    """Read the settings and run a bridge; returns the process's exit code, see `bridge.__main__`."""
    try:
        settings = process_settings()
        configure_logging(settings.log_format, settings.log_level, settings.warnings)
        run(settings)
    except SettingsError as error:
        print(error, file=sys.stderr)  # noqa: T201 - the last word before the end
        return 2
    except Exception as error:
        log.exception("the bridge ended with an error", error=str(error))
        return 1
    return 0


def run(settings: Settings) -> None:
    """Run a bridge until SIGTERM or SIGINT. Raises SettingsError when the ledger's Redis is set up wrongly."""
    bridge = build(settings)
    if settings.shadow_enabled:
        log.warning(SHADOW_WARNING, group=settings.kafka_group_id)
    log.info(
        "the bridge starts",
        topic=settings.kafka_input_topic,
        group=settings.kafka_group_id,
        kafka=settings.kafka_broker_servers,
        broker=masked(settings.celery_broker_url),
        ledger=masked(settings.ledger_redis_url),
        group_size=settings.group_size,
        release=release(),
    )
    Runner(bridge.run, bridge.health.stop).run()
