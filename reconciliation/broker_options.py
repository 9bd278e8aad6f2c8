"""What Celery is told of its broker, from the settings (docs/secured-servers.md). No Celery is loaded here."""

import ssl
from dataclasses import dataclass, field
from typing import Any

from reconciliation.redis_options import broker_tls, sentinel_access
from reconciliation.settings import Settings
from reconciliation.settings_urls import is_redis_url, is_sentinel_url, is_tls_url, tls_options, without_query

# A message is fetched long before it is worked on when a worker is busy; the time is never refreshed
# (kombu/transport/redis.py, QoS.append), so it is far above anything a group can take.
_VISIBILITY_SECONDS = 3600

# A message that came back so often, since workers ended over it or lost their connection, is thrown away: its requests
# stand in the ledger. RabbitMQ 4 has a limit by itself, 3 has none. It can't be changed where the queue exists.
_DELIVERY_LIMIT = 5


@dataclass(frozen=True, slots=True)
class BrokerOptions:
    """Celery's broker_url, broker_use_ssl and broker_transport_options; passwords are in the first and the last.

    `queue` is what each queue is declared with, beside its name; None where the broker takes nothing.
    """

    url: str = field(repr=False)
    use_ssl: dict[str, Any] | None
    transport: dict[str, Any] = field(repr=False)
    queue: dict[str, Any] | None = None


def broker_options(settings: Settings) -> BrokerOptions:
    """Give what Celery, and Flower with it, is told of the broker.

    kombu's and redis-py's ways with a rediss:// URL differ: without options kombu checks no certificate
    (kombu/connection.py, Connection.__init__), and Flower does not read those of a URL (flower/utils/broker.py,
    RedisSsl). So they are taken off the URL and given as broker_use_ssl, checks included.
    """
    url = settings.celery_broker_url
    if is_sentinel_url(url):
        return BrokerOptions(url, _sentinel_tls(settings), _redis_transport(settings) | _sentinel_transport(settings))
    if is_redis_url(url):
        return BrokerOptions(without_query(url), _redis_tls(url), _redis_transport(settings))
    tls = _amqp_tls(settings) if is_tls_url(url) else None
    return BrokerOptions(url, tls, _amqp_transport(settings), _quorum_queue())


def made_otherwise(error: BaseException) -> bool:
    """Say whether RabbitMQ refuses our queue since one of its name was made with other arguments."""
    return "PRECONDITION_FAILED" in str(error) and "inequivalent arg" in str(error)


#: What to do about it.
MADE_OTHERWISE = (
    "delete the queue (`rabbitmqctl delete_queue NAME`) and it is made as it must be; the requests of its messages are "
    "in the ledger and are sent again; see docs/rabbitmq.md"
)


def _quorum_queue() -> dict[str, Any]:
    # written to disk by most of the cluster's nodes before a message counts as sent
    return {"x-queue-type": "quorum", "x-delivery-limit": _DELIVERY_LIMIT}


def _amqp_transport(settings: Settings) -> dict[str, Any]:
    # by default its client waits for ever, for an answer and for room to write (amqp/transport.py, _init_socket)
    return {"read_timeout": settings.redis_timeout, "write_timeout": settings.redis_timeout}


def _redis_tls(url: str) -> dict[str, Any] | None:
    if not is_tls_url(url):
        return None
    given = dict(tls_options(url))
    check_hostname = given.pop("ssl_check_hostname", "true") == "true"
    return {"ssl_cert_reqs": "required", **given, "ssl_check_hostname": check_hostname}


def _sentinel_tls(settings: Settings) -> dict[str, Any] | None:
    return broker_tls(settings).redis_arguments() if settings.broker_ssl_enabled else None


def _amqp_tls(settings: Settings) -> dict[str, Any]:
    tls = broker_tls(settings)
    files = {"ca_certs": tls.authority, "certfile": tls.certificate, "keyfile": tls.key}
    # None has kombu put the broker's own name there (kombu/transport/pyamqp.py, establish_connection); without the
    # entry no name is checked (amqp/transport.py, SSLTransport._wrap_socket_sni)
    name = {"server_hostname": None} if tls.verify_hostname else {}
    return {"cert_reqs": ssl.CERT_REQUIRED, **name, **{key: path for key, path in files.items() if path is not None}}


def _redis_transport(settings: Settings) -> dict[str, Any]:
    return {
        "global_keyprefix": f"{settings.kafka_group_id}:celery:",
        "visibility_timeout": _VISIBILITY_SECONDS,
        # A worker asks for one message of several queues, in this order (kombu/transport/redis.py,
        # Channel._brpop_start; BRPOP takes from the first that has one). By their names the clicks' comes before the
        # bulk runs', which is called the same and more (kombu/utils/scheduling.py, sorted_cycle): so it does in
        # whatever order -Q names them.
        "queue_order_strategy": "sorted",
        # by default a call to a Redis that hangs waits for ever
        "socket_timeout": settings.redis_timeout,
        "socket_connect_timeout": settings.redis_timeout,
        "socket_keepalive": True,
        "health_check_interval": 25,
    }


def _sentinel_transport(settings: Settings) -> dict[str, Any]:
    access = sentinel_access(settings)
    assert access is not None  # noqa: S101 - for the type checker: settings_broker.py asks for the master's name
    return {"master_name": access.master, "sentinel_kwargs": access.arguments(settings.redis_timeout)}
