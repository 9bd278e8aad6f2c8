"""The settings of Celery's broker and of the ledger's Redis; see docs/settings.md and docs/secured-servers.md."""

from dataclasses import dataclass, field
from typing import Annotated
from urllib.parse import quote, urlencode

from reconciliation import settings_kinds as kind
from reconciliation.settings_catalogue import Check, DefaultFrom, Others
from reconciliation.settings_sources import Documented
from reconciliation.settings_urls import BROKER_URL, LEDGER_URL, is_redis_url, is_sentinel_url, is_tls_url


def _ledger_beside(others: Others) -> str:
    """Find the ledger's Redis where none is named: the broker's when that is Redis, else the relation cache's."""
    broker: str = others["celery_broker_url"]
    if is_redis_url(broker) or is_sentinel_url(broker):
        return broker
    host = others["redis_host"]
    login = ""
    if others["redis_password"] is not None:
        login = f"{quote(others['redis_username'] or '', safe='')}:{quote(others['redis_password'], safe='')}@"
    address = f"{login}{f'[{host}]' if ':' in host else host}:{others['redis_port']}/0"
    if not others["redis_ssl_enabled"]:
        return f"redis://{address}"
    options = {
        "ssl_ca_certs": others["redis_ssl_ca_location"],
        "ssl_certfile": others["redis_ssl_certificate_location"],
        "ssl_keyfile": others["redis_ssl_key_location"],
        "ssl_check_hostname": None if others["redis_ssl_hostname_verification"] else "false",
    }
    query = urlencode({name: value for name, value in options.items() if value is not None})
    return f"rediss://{address}{'?' if query else ''}{query}"


def _goes_with_broker_sentinel(value: str | None, others: Others) -> str | None:
    broker = others.get("celery_broker_url")
    if broker is not None and value is not None and not is_sentinel_url(broker):
        raise ValueError("celery.broker.url is no sentinel:// URL, and it would not be used")
    return value


def _names_sentinel_master(master: str | None, others: Others) -> str | None:
    if master is None and is_sentinel_url(others.get("celery_broker_url", "")):
        raise ValueError("celery.broker.url is a sentinel:// URL")
    return master


def _agrees_with_broker_url(enabled: bool, others: Others) -> bool:
    broker = others.get("celery_broker_url")
    if enabled and broker is not None and not (is_sentinel_url(broker) or is_tls_url(broker)):
        raise ValueError("celery.broker.url says otherwise: make it a rediss:// or amqps:// URL")
    return enabled


def _goes_with_broker_tls(path: str | None, others: Others) -> str | None:
    broker = others.get("celery_broker_url")
    if path is None or broker is None:
        return path
    if is_redis_url(broker):
        raise ValueError("for Redis the file stands in celery.broker.url: rediss://…?ssl_ca_certs=FILE and so on")
    if is_sentinel_url(broker) and others.get("broker_ssl_enabled") is False:
        raise ValueError("celery.broker.ssl.enabled is false, and it would not be used")
    if not is_sentinel_url(broker) and not is_tls_url(broker):
        raise ValueError("celery.broker.url is no amqps:// URL, and it would not be used")
    return path


def _shares_sentinels(url: str, others: Others) -> str:
    # master, sentinels' password and certificates are told once, for both
    if is_sentinel_url(url) and url != others.get("celery_broker_url", url):
        raise ValueError("through Sentinel the ledger is reached only where it is celery.broker.url's own")
    return url


@dataclass(frozen=True, kw_only=True)
class BrokerSettings:
    """Celery's broker, how it is reached through Sentinel and TLS, and the ledger."""

    celery_broker_url: Annotated[str, BROKER_URL, Documented("celery.broker.url", "Celery's broker.", secret=True)] = (
        field(default="redis://127.0.0.1:6379/0", repr=False)
    )
    broker_sentinel_master: Annotated[
        str | None,
        kind.SHORT_TEXT,
        Check(_goes_with_broker_sentinel),
        Check(_names_sentinel_master),
        Documented(
            "celery.broker.sentinel.master",
            "What the sentinels of a sentinel:// broker call the Redis server that they watch.",
        ),
    ] = None
    broker_sentinel_username: Annotated[
        str | None,
        kind.SHORT_TEXT,
        Check(_goes_with_broker_sentinel),
        Documented("celery.broker.sentinel.username", "The sentinels' own user, where they ask for one."),
    ] = None
    broker_sentinel_password: Annotated[
        str | None,
        kind.SECRET,
        Check(_goes_with_broker_sentinel),
        Documented("celery.broker.sentinel.password", "The sentinels' own password.", secret=True),
    ] = field(default=None, repr=False)
    broker_ssl_enabled: Annotated[
        bool,
        kind.SWITCH,
        Check(_agrees_with_broker_url),
        Documented(
            "celery.broker.ssl.enabled",
            "Whether sentinels, and the Redis server that they name, are spoken to through TLS. Of other brokers the "
            "URL says so: rediss://, amqps://.",
        ),
    ] = False
    broker_ssl_ca_location: Annotated[
        str | None,
        kind.FILE,
        Check(_goes_with_broker_tls),
        Documented(
            "celery.broker.ssl.ca.location",
            "The authority that signed the certificates of an amqps:// or sentinel:// broker (PEM).",
            default="the system's authorities",
        ),
    ] = None
    broker_ssl_certificate_location: Annotated[
        str | None,
        kind.FILE,
        Check(_goes_with_broker_tls),
        Documented("celery.broker.ssl.certificate.location", "Our own certificate (PEM), where it asks for one."),
    ] = None
    broker_ssl_key_location: Annotated[
        str | None,
        kind.FILE,
        Check(_goes_with_broker_tls),
        Documented("celery.broker.ssl.key.location", "That certificate's key (PEM)."),
    ] = None
    broker_ssl_hostname_verification: Annotated[
        bool,
        kind.SWITCH,
        Documented(
            "celery.broker.ssl.hostname.verification",
            "Whether the certificate of an amqps:// or sentinel:// broker must name the address that it is reached at.",
        ),
    ] = True
    ledger_redis_url: Annotated[
        str,
        LEDGER_URL,
        DefaultFrom(_ledger_beside),
        Check(_shares_sentinels),
        Documented(
            "ledger.redis.url",
            "The Redis that holds the ledger; it must run with noeviction.",
            secret=True,
            default="celery.broker.url's when that is Redis, through Sentinel or not, else redis.host and redis.port "
            "with redis.password and redis.ssl, database 0",
        ),
    ] = field(repr=False)
