"""How every client of Redis is connected, from the settings, and what to look at when it is refused.

See docs/secured-servers.md.
"""

import re
import ssl
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote, urlsplit

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry
from redis.sentinel import MasterNotFoundError, Sentinel

from reconciliation.settings import Settings
from reconciliation.settings_urls import is_sentinel_url
from reconciliation.tls import Tls

_SENTINEL_PORT = 26_379
# how a client of a sentinel tells of itself before the error that it met (redis/sentinel.py, Sentinel.discover_master)
_CLIENT = re.compile(r"<redis\.client\.Redis\(.*?\)>\)>\)> - ")
_SENTINELS = "celery.broker.sentinel.master and celery.broker.sentinel.password (CELERY_BROKER_SENTINEL_PASSWORD)"
_USER_AND_PASSWORD = (
    redis.AuthenticationError,
    redis.exceptions.NoPermissionError,
    redis.exceptions.AuthorizationError,
)
_REFUSALS = (
    "WRONGPASS",
    "NOAUTH",
    "NOPERM",
    "AUTH <password>",
    "AUTH called",
    "invalid username-password",
    "Authentication required",
    # RabbitMQ's, the second for a vhost that is not there or not the user's
    "ACCESS_REFUSED",
    "NOT_ALLOWED",
)


@dataclass(frozen=True, slots=True)
class SentinelAccess:
    """How the sentinels of a sentinel:// URL are asked: what they call the server, and what they want of us.

    `tls` holds for them and for the server.
    """

    master: str
    username: str | None
    password: str | None = field(repr=False)
    tls: Tls | None

    def arguments(self, timeout: float) -> dict[str, Any]:
        """Give redis-py's arguments of the connections to the sentinels; `timeout` is in seconds."""
        secured = {} if self.tls is None else {"ssl": True, **self.tls.redis_arguments()}
        login = {"username": self.username, "password": self.password}
        return {
            "socket_timeout": timeout,
            "socket_connect_timeout": timeout,
            # the next sentinel is asked instead, and whoever asks tries again
            "retry": Retry(NoBackoff(), 0),
            **{name: value for name, value in login.items() if value is not None},
            **secured,
        }


def sentinel_access(settings: Settings) -> SentinelAccess | None:
    """Say how the broker's sentinels are asked; None where there are none."""
    if settings.broker_sentinel_master is None:
        return None
    return SentinelAccess(
        settings.broker_sentinel_master,
        settings.broker_sentinel_username,
        settings.broker_sentinel_password,
        broker_tls(settings) if settings.broker_ssl_enabled else None,
    )


def broker_tls(settings: Settings) -> Tls:
    """Give what TLS connections to a broker are made with whose URL doesn't say so itself."""
    return Tls(
        settings.broker_ssl_ca_location,
        settings.broker_ssl_certificate_location,
        settings.broker_ssl_key_location,
        settings.broker_ssl_hostname_verification,
    )


def relation_cache_arguments(settings: Settings) -> dict[str, Any]:
    """Give redis-py's arguments that lead a client to the relation cache: address, database, user, TLS."""
    secured = {}
    if settings.redis_ssl_enabled:
        tls = Tls(
            settings.redis_ssl_ca_location,
            settings.redis_ssl_certificate_location,
            settings.redis_ssl_key_location,
            settings.redis_ssl_hostname_verification,
        )
        secured = {"ssl": True, **tls.redis_arguments()}
    return {
        "host": settings.redis_host,
        "port": settings.redis_port,
        "db": settings.relation_cache_database,
        "username": settings.redis_username,
        "password": settings.redis_password,
        **secured,
    }


def course_list_client(settings: Settings, timeout: float, repeats: int = 1) -> redis.Redis:
    """Make a client of the course service's cache; it asks nobody yet.

    `timeout` is in seconds, for connecting and for each answer; `repeats` is how often it tries again, since a
    connection that was idle may just have been closed.
    """
    options: dict[str, Any] = {"protocol": 2, "retry": Retry(NoBackoff(), repeats), "health_check_interval": 30}
    if settings.course_list_redis_url is not None:
        return open_redis(settings.course_list_redis_url, None, timeout, **options)
    server = relation_cache_arguments(settings) | {"db": 0}
    return redis.Redis(**server, **options, socket_timeout=timeout, socket_connect_timeout=timeout)


def open_redis(url: str, sentinel: SentinelAccess | None, timeout: float, **arguments: Any) -> redis.Redis:
    """Make a client of the server that a URL names, or its sentinels; it asks nobody yet.

    `timeout` is in seconds, for connecting and for each answer; `arguments` are redis-py's.
    """
    arguments |= {"socket_timeout": timeout, "socket_connect_timeout": timeout}
    if not is_sentinel_url(url):
        return redis.Redis.from_url(url, **arguments)
    assert sentinel is not None  # noqa: S101 - for the type checker: settings_broker.py asks for the master's name
    parts = [urlsplit(each) for each in url.split(";")]
    asked = Sentinel(  # type: ignore[no-untyped-call] # the client does not type it
        [(str(part.hostname), part.port or _SENTINEL_PORT) for part in parts],
        sentinel_kwargs=sentinel.arguments(timeout),
    )
    secured = {} if sentinel.tls is None else {"ssl": True, **sentinel.tls.redis_arguments()}
    login = {"username": parts[0].username, "password": parts[0].password}
    client: redis.Redis = asked.master_for(  # type: ignore[no-untyped-call] # as above
        sentinel.master,
        db=int(parts[0].path.strip("/") or 0),
        **{name: unquote(value) for name, value in login.items() if value is not None},
        **secured,
        **arguments,
    )
    return client


def readable(text: str) -> str:
    """Put an error's text on one line, without what a client tells of itself."""
    return _CLIENT.sub("", " ".join(text.split()))


def remedy(error: BaseException, login: str, tls: str) -> str:
    """Tell an error of redis-py, or of kombu, in one line, with what to look at where we are refused.

    `login` and `tls` name the settings of the user and of the certificates.
    """
    told = readable(f"{type(error).__name__}: {error}")
    if isinstance(error, MasterNotFoundError):
        return f"{told} (look at {_SENTINELS})"
    if isinstance(error, _USER_AND_PASSWORD) or any(word in str(error) for word in _REFUSALS):
        return f"{told} (look at {login})"
    if is_about_tls(error):
        return f"{told} (look at {tls})"
    return told


def is_about_tls(error: BaseException | None) -> bool:
    """Say whether an error, or what led to it, is one of TLS, or of a server that speaks it to one who doesn't."""
    while error is not None:
        text = str(error)
        # the last is all that is told where plain text meets a port that speaks TLS
        signs = ("SSL", "TLS", "certificate", "Connection closed by server")
        if isinstance(error, ssl.SSLError) or any(sign in text for sign in signs):
            return True
        error = error.__cause__ or error.__context__
    return False
