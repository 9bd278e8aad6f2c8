"""What the settings that are URLs may be, and how they are told without what is secret in them.

See docs/settings.md and docs/secured-servers.md.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from urllib.parse import SplitResult, parse_qsl, urlsplit

from reconciliation.settings_kinds import Kind

_REDIS_SCHEMES = frozenset({"redis", "rediss"})
_AMQP_SCHEMES = frozenset({"amqp", "amqps"})
_SENTINEL = "sentinel"
_WORDS_OF_TLS_OPTIONS = {
    "ssl_cert_reqs": re.compile("required|optional|none"),
    "ssl_check_hostname": re.compile("true|false"),
}
_FILES_OF_TLS_OPTIONS = frozenset({"ssl_ca_certs", "ssl_certfile", "ssl_keyfile"})
_TLS_HINT = (
    "behind the question mark may stand, for rediss:// alone and each once, ssl_cert_reqs=required (or optional, none),"
    " ssl_check_hostname=true (or false), ssl_ca_certs=FILE, ssl_certfile=FILE and ssl_keyfile=FILE"
)


# Several URLs in one setting; a semicolon elsewhere belongs to the URL in which it stands.
_BETWEEN_URLS = re.compile(r";(?=[a-z]+://)", re.IGNORECASE)
_NO_AMQP_QUERY = (
    "behind the host may stand a virtual host and nothing else; of TLS say celery.broker.ssl.ca.location and the"
    " settings beside it"
)
_PERCENT_HINT = (
    "behind the host stands an @: what is special in a URL is written with a percent sign in user and password, / as"
    " %2F, ? as %3F, # as %23 and @ as %40"
)


def _split_url(text: str) -> SplitResult:
    # urlsplit drops tabs and line breaks and takes the rest as it is: refuse them before it looks
    if not text.isascii() or not text.isprintable() or " " in text:
        raise ValueError
    try:
        parts = urlsplit(text)
        complete = bool(parts.hostname) and parts.port != 0
    except ValueError:
        # urllib's own words quote the URL, which may hold a password (urllib/parse.py, _NetlocResultMixinBase.port)
        complete = False
    if not complete:
        raise ValueError
    if "@" in parts.path + parts.query + parts.fragment:
        # urlsplit takes the beginning of such a password for the port, and the rest of it would be told in logs
        raise ValueError(_PERCENT_HINT)
    return parts


def _parse_base_path(text: str) -> str:
    parts = _split_url(text)
    if parts.scheme not in {"http", "https"} or parts.query or parts.fragment:
        raise ValueError
    return text.rstrip("/")


def _check_redis_database(parts: SplitResult) -> None:
    # not 0/, which kombu hands to int as it is (kombu/transport/redis.py, Channel._prepare_virtual_host)
    if re.fullmatch(r"/?|/[0-9]{1,4}", parts.path, re.ASCII) is None or parts.fragment:
        raise ValueError("after the port comes the number of the database, as in redis://host:6379/0")


def _check_tls_options(parts: SplitResult) -> None:
    # what the client can't make sense of it says only when it connects, and with a traceback
    given = parse_qsl(parts.query, keep_blank_values=True)
    names = [name for name, _ in given]
    if (given and parts.scheme != "rediss") or len(set(names)) < len(names):
        raise ValueError(_TLS_HINT)
    for name, value in given:
        words = _WORDS_OF_TLS_OPTIONS.get(name)
        if name in _FILES_OF_TLS_OPTIONS:
            _check_file(name, value)
        elif words is None or words.fullmatch(value) is None:
            raise ValueError(_TLS_HINT)


def _check_file(name: str, path: str) -> None:
    try:
        with Path(path).open("rb") as file:
            file.read(1)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else None
        raise ValueError(f"{name} names a file that can't be read: {reason or 'its path is none'}") from None


def _parse_broker_url(text: str) -> str:
    # kombu takes every semicolon for one between URLs (kombu/connection.py, Connection.__init__)
    urls = [_split_url(url) for url in text.split(";")]
    schemes = {url.scheme for url in urls}
    if schemes == {_SENTINEL}:
        _check_sentinels(urls)
    elif schemes <= _REDIS_SCHEMES and len(urls) == 1:
        _check_redis_database(urls[0])
        _check_tls_options(urls[0])
    elif schemes <= _AMQP_SCHEMES and len(schemes) == 1:
        _check_amqp(urls)
    else:
        raise ValueError
    return text


def _check_amqp(urls: list[SplitResult]) -> None:
    # kombu takes what stands there in place of what it is told of TLS (kombu/utils/url.py, parse_url)
    if any(url.query or url.fragment for url in urls):
        raise ValueError(_NO_AMQP_QUERY)


def _check_sentinels(urls: list[SplitResult]) -> None:
    for url in urls:
        _check_redis_database(url)
        if url.query:
            raise ValueError("of TLS through Sentinel say celery.broker.ssl.enabled and celery.broker.ssl.ca.location")
    # kombu takes user, password and database of the URL that it came to last (kombu/connection.py, switch)
    if len({(url.username, url.password, url.path.strip("/")) for url in urls}) > 1:
        raise ValueError("every sentinel:// URL must name the same user, password and database: those of the master")


def _parse_ledger_url(text: str) -> str:
    if text.startswith(f"{_SENTINEL}://"):
        return _parse_broker_url(text)
    return _parse_redis_url(text)


def _parse_redis_url(text: str) -> str:
    parts = _split_url(text)
    if parts.scheme not in _REDIS_SCHEMES:
        raise ValueError
    _check_redis_database(parts)
    _check_tls_options(parts)
    return text


def is_redis_url(url: str) -> bool:
    """Whether a broker's URL names one Redis server, whose URL the ledger can take as it is."""
    return urlsplit(url).scheme in _REDIS_SCHEMES


def is_sentinel_url(url: str) -> bool:
    """Whether a URL names sentinels, which know where the Redis server is."""
    return urlsplit(url).scheme == _SENTINEL


def is_amqp_url(url: str) -> bool:
    """Whether a broker's URL names RabbitMQ."""
    return urlsplit(url).scheme in _AMQP_SCHEMES


def is_tls_url(url: str) -> bool:
    """Whether the scheme of a broker's URL asks for TLS by itself."""
    return urlsplit(url).scheme in {"rediss", "amqps"}


def tls_options(url: str) -> Mapping[str, str]:
    """Give the TLS options of a rediss:// URL by redis-py's names; empty for other URLs."""
    parts = urlsplit(url)
    return MappingProxyType(dict(parse_qsl(parts.query)) if parts.scheme == "rediss" else {})


def without_query(url: str) -> str:
    """Give a URL without what stands behind its question mark."""
    return url.partition("?")[0]


def split_urls(urls: str) -> list[str]:
    """Take several URLs of one setting apart."""
    return _BETWEEN_URLS.split(urls)


def masked(urls: str) -> str:
    """Tell one URL or several, separated by semicolons: schemes, hosts, ports and databases, and nothing else."""
    return ";".join(map(_masked_one, split_urls(urls)))


def _masked_one(url: str) -> str:
    parts = urlsplit(url)
    host = parts.hostname or ""
    host = f"[{host}]" if ":" in host else host
    port = "" if parts.port is None else f":{parts.port}"
    return f"{parts.scheme}://{host}{port}{parts.path}"


BASE_PATH = Kind("an http:// or https:// URL without a query", _parse_base_path)
BROKER_URL = Kind(
    "a redis://, rediss://, sentinel://, amqp:// or amqps:// URL with a host"
    " (sentinel, amqp, amqps: several of one scheme, separated by semicolons)",
    _parse_broker_url,
)
LEDGER_URL = Kind("a redis:// or rediss:// URL with a host", _parse_ledger_url)
REDIS_URL = Kind("a redis:// or rediss:// URL with a host", _parse_redis_url)
