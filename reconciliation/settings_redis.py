"""The settings of the relation cache's Redis; see docs/settings.md."""

from dataclasses import dataclass, field
from typing import Annotated

from reconciliation import settings_kinds as kind
from reconciliation.settings_catalogue import Check, Others, used_only_with
from reconciliation.settings_sources import Documented

_GOES_WITH_TLS = used_only_with("redis_ssl_enabled", "redis.ssl.enabled")


def _goes_with_redis_user(password: str | None, others: Others) -> str | None:
    # a password without a user is that of the user called default
    if password is None and others.get("redis_username") is not None:
        raise ValueError("redis.username is given")
    return password


@dataclass(frozen=True, kw_only=True)
class RedisSettings:
    """Address, database, time limit in seconds, user, password and certificates."""

    redis_host: Annotated[str, kind.HOST, Documented("redis.host", "The Redis that holds the relation cache.")] = (
        "127.0.0.1"
    )
    redis_port: Annotated[int, kind.PORT, Documented("redis.port", "That Redis server's port.")] = 6379
    relation_cache_database: Annotated[
        int,
        kind.whole_number(0, 9999),
        Documented("redis.database.relationCache.id", "The relation cache's database there."),
    ] = 10
    redis_timeout: Annotated[
        float,
        kind.seconds(0.1, 600),
        Documented("redis.timeout", "How long a call to Redis, or to Celery's broker, may take."),
    ] = 5.0
    redis_username: Annotated[
        str | None,
        kind.SHORT_TEXT,
        Documented("redis.username", "The user of the relation cache's Redis.", default="its user called default"),
    ] = None
    redis_password: Annotated[
        str | None,
        kind.SECRET,
        Check(_goes_with_redis_user),
        Documented("redis.password", "The user's password.", secret=True),
    ] = field(default=None, repr=False)
    redis_ssl_enabled: Annotated[
        bool, kind.SWITCH, Documented("redis.ssl.enabled", "Whether the relation cache is spoken to through TLS.")
    ] = False
    redis_ssl_ca_location: Annotated[
        str | None,
        kind.FILE,
        _GOES_WITH_TLS,
        Documented(
            "redis.ssl.ca.location",
            "The authority that signed its certificate (PEM).",
            default="the system's authorities",
        ),
    ] = None
    redis_ssl_certificate_location: Annotated[
        str | None,
        kind.FILE,
        _GOES_WITH_TLS,
        Documented("redis.ssl.certificate.location", "Our own certificate (PEM), where it asks for one."),
    ] = None
    redis_ssl_key_location: Annotated[
        str | None,
        kind.FILE,
        _GOES_WITH_TLS,
        Documented("redis.ssl.key.location", "That certificate's key (PEM)."),
    ] = None
    redis_ssl_hostname_verification: Annotated[
        bool,
        kind.SWITCH,
        Documented("redis.ssl.hostname.verification", "Whether its certificate must name redis.host."),
    ] = True
