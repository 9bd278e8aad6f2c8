"""What happens around a worker's life: logs, its first checks, and a tidy end."""

import atexit
import gc
import sys
import threading
from contextlib import suppress
from typing import Any

import structlog
from celery import signals
from celery.apps.worker import _reload_current_worker  # type: ignore[attr-defined] # the stubs leave it out
from celery.concurrency import get_implementation

from ledger.config import ledger_config
from ledger.ledger import Ledger
from reconciliation.build_info import release
from reconciliation.errors import LedgerUnavailable, ReconciliationError, Server, SettingsError
from reconciliation.kafka_options import connection_options
from reconciliation.logs import configure_logging
from reconciliation.publisher import EventPublisher
from reconciliation.settings import process_settings
from reconciliation.shadow import SHADOW_WARNING
from reconciliation.store_connection import CLOCK_TOLERANCE
from reconciliation.store_opener import Store
from worker.connections import STOPPING, close_connections, current_connections
from worker.ending import end_in_time, take_keys
from worker.pool_metrics import POOL_METRICS, is_of_processes
from worker.replacement import REPLACEMENT

log = structlog.get_logger(__name__)


@signals.celeryd_init.connect
def set_up_logging(**_: Any) -> None:
    """Log as the bridge does, from before Celery's first warning on (celery/apps/worker.py, Worker.on_before_init)."""
    settings = process_settings()
    configure_logging(settings.log_format, settings.log_level, settings.warnings)


@signals.setup_logging.connect
def keep_logging(**_: Any) -> None:
    """Leave logging as it is: that somebody listens keeps Celery from setting up its own (celery/app/log.py)."""


@signals.worker_init.connect
def check_servers(**_: Any) -> None:
    """Refuse to start with options that librdkafka does not take, or on a Redis that may throw open requests away.

    A Redis that is away for now is waited for.
    """
    settings = process_settings()
    if settings.shadow_enabled:
        log.warning(SHADOW_WARNING, group=settings.kafka_group_id)
    ledger = Ledger(ledger_config(settings))
    try:
        EventPublisher(connection_options(settings), settings.kafka_timeout).verify()
        ledger.verify()
    except SettingsError as error:
        print(error, file=sys.stderr)  # noqa: T201 - the last word before the end
        sys.exit(2)
    except LedgerUnavailable as error:
        log.warning("the ledger is not there yet, the worker waits for it", error=str(error))
    finally:
        ledger.close()


@signals.worker_init.connect
def begin_pool_metrics(sender: Any, **_: Any) -> None:
    """Have a pool of processes count together; this comes before its first child is forked."""
    if is_of_processes(get_implementation(sender.pool_cls)):
        POOL_METRICS.begin()


@signals.worker_ready.connect
def begin(sender: Any, **_: Any) -> None:
    """Connect before the first request comes rather than with it, and say that the worker is there."""
    pool = sender.pool
    if not is_of_processes(type(pool)):
        take_keys()
        threading.Thread(target=warm_up_in_time, name="warm-up", daemon=True).start()
    log.info(
        "the worker is ready",
        queues=", ".join(sender.app.amqp.queues.consume_from),
        pool=type(pool).__module__.rpartition(".")[2],
        threads=pool.limit,
        release=release(),
    )


@signals.worker_process_init.connect
def begin_pool_child(**_: Any) -> None:
    """Connect in a prefork pool's child; the solo pool sends this signal too (celery/concurrency/solo.py)."""
    if REPLACEMENT.is_pool_child():
        warm_up()


def warm_up() -> None:
    """Connect to Cassandra and Kafka and compare clocks; a failure is only told, since every attempt connects anew."""
    connections = current_connections()

    def meet_cassandra() -> None:
        _compare_clocks(connections.open_store())

    probes = connections.probes()
    meetings = {Server.CASSANDRA: meet_cassandra} | {it: probes[it] for it in (Server.KAFKA,) if it in probes}
    for server, connect in meetings.items():
        try:
            connect()
        except ReconciliationError as error:
            if server is not Server.CASSANDRA:  # worker/connections.py tells of that
                log.error("a server is not there yet: requests wait for it", server=server.value, error=str(error))
    _spare_the_collector()


def warm_up_in_time() -> None:
    """Warm up, and look for Cassandra until it is there: no worker is ready before (docs/health.md)."""
    warm_up()
    open_store = current_connections().open_store
    while not open_store.is_open() and not STOPPING.wait(process_settings().outage_backoff_most):
        with suppress(ReconciliationError):
            _compare_clocks(open_store())


def _spare_the_collector() -> None:
    """Keep Python's garbage collector from what lives as long as the process, which took a tenth of its time.

    The drivers leave cycles behind, so it has to run. What four groups of requests need while they are worked on is
    looked at again and again where it runs often, for nothing: it goes when the group is done.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(25_000, 2, 2)


def _compare_clocks(store: Store) -> None:
    """Tell of a clock that differs: writes carry ours, other jobs' theirs, and the later one wins."""
    difference = store.clock_difference()
    tell = log.warning if abs(difference) > CLOCK_TOLERANCE else log.info
    tell("this host's clock was compared with Cassandra's", seconds_ahead=round(difference, 3))


@signals.worker_shutting_down.connect
def note_signal(**_: Any) -> None:
    """Give the end that a signal asks for its limit: before Celery's loop, which may stand still, hears of it.

    An earlier SIGHUP, by which the worker was to start anew, is overruled.
    """
    atexit.unregister(_reload_current_worker)
    end_in_time()


@signals.worker_process_shutdown.connect
def close(**_: Any) -> None:
    """Close the connections once the pool has ended its tasks (celery/worker/worker.py, WorkController.stop)."""
    close_connections()


@signals.worker_shutdown.connect
def close_main(**_: Any) -> None:
    """Close the connections; start anew where the attempt for which the process was to be replaced ended after all."""
    close_connections()
    POOL_METRICS.end()
    if REPLACEMENT.is_wanted():
        REPLACEMENT.run_again()
    log.info("the worker has stopped")
