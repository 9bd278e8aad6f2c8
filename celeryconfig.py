"""Celery's settings, for workers, Flower and the bridge's sending side, each with its reason.

Nothing that must not be lost hangs on them: the ledger holds it (docs/reliability.md).
"""

import os
import sys
from typing import NoReturn

from kombu import Exchange, Queue

from ledger.messages import RECONCILE_TASK
from reconciliation.broker_options import broker_options
from reconciliation.errors import SettingsError
from reconciliation.settings import process_settings
from reconciliation.settings_urls import is_amqp_url


def _refuse(line: object) -> NoReturn:
    # of an exception Celery's command line would print a traceback
    print(line, file=sys.stderr)  # noqa: T201 - there is no logging yet
    sys.exit(2)


try:
    _settings = process_settings()
except SettingsError as _error:
    _refuse(_error)
for _name in ("CELERY_BROKER_READ_URL", "CELERY_BROKER_WRITE_URL"):
    if os.environ.get(_name):
        # Celery takes these over whatever is configured (celery/app/utils.py, Settings.broker_read_url)
        _refuse(f"{_name} is no setting: unset it, celery.broker.url (CELERY_BROKER_URL) names the broker")

_broker = broker_options(_settings)
# By these names too: CELERY_BROKER_URL Celery reads itself and takes as it stands, {{env}} and blanks included, but it
# prefers these (celery/app/utils.py, the class Settings).
broker_url = broker_read_url = broker_write_url = _broker.url
if _broker.use_ssl is not None:
    broker_use_ssl = _broker.use_ssl
# the queue carries the consumer group's name, and so do the broker's own keys below: two environments on one broker
# never see each other's work
task_default_queue = _settings.kafka_group_id
# All queues are made here, and in no other way. A worker takes from both unless -Q names one, clicks first
# (worker/lane.py); unnamed, it would take from the default one alone (celery/app/amqp.py, AMQP.Queues), whose exchange
# has been of this kind and name before.
task_queues = [
    Queue(_name, Exchange(_name, type="direct"), routing_key=_name, queue_arguments=_broker.queue)
    for _name in (_settings.kafka_group_id, _settings.bulk_queue)
]
task_create_missing_queues = False
# where one vhost has several environments, Redis' keys being apart already
if is_amqp_url(_broker.url):
    control_exchange = f"{_settings.kafka_group_id}.control"
    event_exchange = f"{_settings.kafka_group_id}.events"
# the task, and what happens around a worker's life; loaded by workers and by Flower (flower/app.py, Flower.__init__),
# where nothing of it runs, but not by the bridge
imports = ("tasks.reconcile", "tasks.revocation", "worker.signals")
task_routes = {RECONCILE_TASK: {"queue": _settings.kafka_group_id}}

# how an attempt ends stands in the ledger; results would only fill Redis
task_ignore_result = True
# JSON carries no code
accept_content = ["json"]
task_serializer = "json"

# acknowledged when the attempt is over, so that a worker's end leaves its messages to others; and then however it
# ended, since the ledger decides what follows and a message that comes back for ever helps nobody
task_acks_late = True
task_acks_on_failure = True
task_acks_on_timeout = True
task_reject_on_worker_lost = False

# threads: SIGTERM ends them in order (prefork hung on a busy worker), and all share one Cassandra session and one Kafka
# producer; more throughput comes from more workers
worker_pool = "threads"
worker_concurrency = _settings.worker_threads
# a message that nobody understands ends no worker
worker_consumer = "worker.consumer:TolerantConsumer"
# a pool of processes: how long a new child may take to meet Kafka and Cassandra (worker/signals.py, warm_up) before it
# is killed and another one started; Celery's 4 seconds (celery/concurrency/asynpool.py, PROC_ALIVE_TIMEOUT) are too few
# while one of them is away, and the pool would lose all its children one by one
worker_proc_alive_timeout = 60.0 + _settings.kafka_timeout + 2 * _settings.cassandra_timeout
# a message is a group of requests already; what one worker holds back, another can't have
worker_prefetch_multiplier = 1
# a lost connection stops no attempt: it ends, and the ledger knows; its message is stale when it comes again
worker_cancel_long_running_tasks_on_connection_loss = False
# Flower draws from these
worker_send_task_events = True
# logs go through reconciliation.logs (worker/signals.py)
worker_hijack_root_logger = False
worker_redirect_stdouts = False

# Redis or RabbitMQ may come up after us, go and come back
broker_connection_retry_on_startup = True
broker_connection_max_retries = None
broker_channel_error_retry = True
broker_connection_timeout = _settings.redis_timeout
# RabbitMQ alone: a worker takes one that is silent for twice as long for gone, and the other way round (seconds)
broker_heartbeat = 30
broker_transport_options = _broker.transport
# the bridge tries again by itself, and polls Kafka meanwhile
task_publish_retry = False
