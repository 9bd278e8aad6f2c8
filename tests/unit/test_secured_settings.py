"""Settings of secured servers: what goes with what, secrets from files, and what the libraries are told."""

import ssl
from pathlib import Path
from typing import Any

import pytest
from kombu import Connection
from kombu.utils.url import parse_url
from redis.connection import SSLConnection

from commands.checking.findings import secrets_of
from ledger.config import ledger_config
from ledger.connection import LedgerConnection
from reconciliation.broker_options import broker_options
from reconciliation.errors import SettingsError
from reconciliation.from_settings import store_config
from reconciliation.kafka_option_names import REFUSED
from reconciliation.kafka_options import connection_options
from reconciliation.redis_options import relation_cache_arguments
from reconciliation.search import search_header
from reconciliation.settings import catalogue, load_settings
from reconciliation.settings_sources import environment_variable
from reconciliation.settings_urls import masked

SECRET = "hunter2-Ünsäglich:@/?#[]"
SASL = {
    "KAFKA_SECURITY_PROTOCOL": "sasl_ssl",
    "KAFKA_SASL_MECHANISM": "scram-sha-512",
    "KAFKA_SASL_USERNAME": "alice",
    "KAFKA_SASL_PASSWORD": SECRET,
}
SENTINELS = {
    "CELERY_BROKER_URL": "sentinel://alice:s%20ecret@one:26379/3;sentinel://alice:s%20ecret@two/3",
    "CELERY_BROKER_SENTINEL_MASTER": "main",
    "CELERY_BROKER_SENTINEL_PASSWORD": "sentinels-own",
}
SECRETS = [environment_variable(setting.about.name) for setting in catalogue().values() if setting.about.secret]


@pytest.fixture
def file(tmp_path: Path) -> str:
    path = tmp_path / "file.pem"
    path.write_text("x")
    return str(path)


def refusal(environment: dict[str, str]) -> str:
    with pytest.raises(SettingsError) as caught:
        load_settings(environment)
    (line,) = str(caught.value).splitlines()
    return line


@pytest.mark.parametrize("missing", ["KAFKA_SASL_MECHANISM", "KAFKA_SASL_USERNAME", "KAFKA_SASL_PASSWORD"])
def test_a_login_to_kafka_wants_all_its_parts(missing: str) -> None:
    line = refusal({name: value for name, value in SASL.items() if name != missing})
    assert f"({missing}) is not set" in line
    assert "kafka.security.protocol is sasl_ssl" in line


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ({"KAFKA_SASL_USERNAME": "alice"}, "kafka.security.protocol is plaintext"),
        ({"KAFKA_SECURITY_PROTOCOL": "ssl", "KAFKA_SASL_PASSWORD": SECRET}, "kafka.security.protocol is ssl"),
        ({"KAFKA_SSL_KEY_PASSWORD": SECRET}, "kafka.security.protocol is plaintext"),
        ({"KAFKA_SSL_CA_LOCATION": __file__}, "kafka.security.protocol is plaintext"),
        ({"LMS_CASSANDRA_USERNAME": "alice"}, "go together"),
        ({"LMS_CASSANDRA_PASSWORD": SECRET}, "go together"),
        ({"LMS_CASSANDRA_SSL_CA_LOCATION": __file__}, "lms-cassandra.ssl.enabled is false"),
        ({"REDIS_USERNAME": "alice"}, "redis.username is given"),
        ({"REDIS_SSL_KEY_LOCATION": __file__}, "redis.ssl.enabled is false"),
        ({"SERVICE_SEARCH_TOKEN": "a", "SERVICE_SEARCH_HEADER": "X-Key: b"}, "only one of the two"),
        (
            {"SERVICE_SEARCH_BASEPATH": "http://h", "SERVICE_SEARCH_SSL_CA_LOCATION": __file__},
            "service.search.basePath is no https:// URL",
        ),
        ({"CELERY_BROKER_SENTINEL_MASTER": "main"}, "no sentinel:// URL"),
        ({"CELERY_BROKER_URL": "sentinel://h"}, "celery.broker.sentinel.master (CELERY_BROKER_SENTINEL_MASTER)"),
        ({"CELERY_BROKER_SSL_ENABLED": "true"}, "make it a rediss:// or amqps:// URL"),
        ({"CELERY_BROKER_URL": "rediss://h", "CELERY_BROKER_SSL_CA_LOCATION": __file__}, "rediss://…?ssl_ca_certs"),
        (
            {"CELERY_BROKER_URL": "amqp://h", "CELERY_BROKER_SSL_CA_LOCATION": __file__},
            "celery.broker.url is no amqps:// URL",
        ),
        ({**SENTINELS, "CELERY_BROKER_SSL_CA_LOCATION": __file__}, "celery.broker.ssl.enabled is false"),
        ({**SENTINELS, "LEDGER_REDIS_URL": "sentinel://h"}, "only where it is celery.broker.url's own"),
    ],
)
def test_what_would_not_be_used_or_lacks_its_other_half_is_refused(given: dict[str, str], named: str) -> None:
    line = refusal(given)
    assert named in line
    assert SECRET not in line


@pytest.mark.parametrize("name", sorted(REFUSED))
def test_an_option_on_which_safety_hangs_is_refused_with_its_reason(name: str) -> None:
    line = refusal({"KAFKA_OPTIONS": f"client.rack=a,{name}={SECRET}"})
    assert f"{name} can't stand there: {REFUSED[name]}" in line
    assert SECRET not in line


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ("no.such.option=1", 'No such configuration property: "no.such.option"'),
        ("socket.keepalive.enable=perhaps", "socket.keepalive.enable"),
        ("fetch.wait.max.ms=-1", "fetch.wait.max.ms"),
    ],
)
def test_librdkafkas_own_refusal_is_a_line_that_names_the_setting(options: str, told: str) -> None:
    with pytest.raises(SettingsError, match=r"^kafka\.options \(KAFKA_OPTIONS\): librdkafka refuses it: ") as caught:
        connection_options(load_settings({"KAFKA_OPTIONS": options}))
    assert told in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


def test_a_file_that_is_no_certificate_is_refused_in_a_line_that_names_the_setting(file: str) -> None:
    settings = load_settings({**SASL, "KAFKA_SSL_CA_LOCATION": file})
    with pytest.raises(SettingsError, match=r"^kafka\.ssl\.ca\.location \(KAFKA_SSL_CA_LOCATION\)") as caught:
        connection_options(settings)
    assert SECRET not in str(caught.value)


def test_kafka_is_told_everything_that_the_settings_say() -> None:
    options = connection_options(load_settings({**SASL, "KAFKA_OPTIONS": "client.rack=a"}))
    assert options == {
        "bootstrap.servers": "127.0.0.1:9092",
        "log_level": 2,
        "security.protocol": "sasl_ssl",
        "sasl.mechanism": "SCRAM-SHA-512",
        "sasl.username": "alice",
        "sasl.password": SECRET,
        "client.rack": "a",
    }


@pytest.mark.parametrize(
    "block",
    [
        'kafka.options = "client.rack=a,socket.keepalive.enable=true"',
        "kafka { options { client.rack = a, socket.keepalive.enable = true } }",
        'kafka { options { "client.rack" = a, socket { keepalive.enable = true } } }',
    ],
)
def test_options_stand_in_the_file_as_text_or_as_a_block(tmp_path: Path, block: str) -> None:
    path = tmp_path / "job.conf"
    path.write_text(block)
    options = load_settings({"CONFIG_FILE": str(path)}).kafka_options
    assert dict(options or ()) == {"client.rack": "a", "socket.keepalive.enable": "true"}


@pytest.mark.parametrize("ending", ["", "\n", "\r\n"])
@pytest.mark.parametrize("variable", ["REDIS_PASSWORD", "CELERY_BROKER_SENTINEL_PASSWORD"])
def test_a_secret_from_a_file_is_its_text_without_one_line_break(tmp_path: Path, variable: str, ending: str) -> None:
    path = tmp_path / "secret"
    path.write_bytes(f" {SECRET} {ending}".encode())
    others = {name: value for name, value in SENTINELS.items() if name != variable}
    settings = load_settings({**others, f"{variable}_FILE": str(path)})
    assert f" {SECRET} " in (settings.redis_password, settings.broker_sentinel_password)


def test_a_byte_order_mark_is_no_part_of_a_secret(tmp_path: Path) -> None:
    path = tmp_path / "secret"
    path.write_bytes(f"{SECRET}\r\n".encode("utf-8-sig"))
    assert load_settings({"REDIS_PASSWORD_FILE": str(path)}).redis_password == SECRET


def test_every_secret_may_come_from_a_file() -> None:
    assert {"KAFKA_SASL_PASSWORD", "KAFKA_SSL_KEY_PASSWORD", "KAFKA_OPTIONS", "LMS_CASSANDRA_PASSWORD"} < set(SECRETS)
    assert {"REDIS_PASSWORD", "CELERY_BROKER_URL", "LEDGER_REDIS_URL", "SERVICE_SEARCH_TOKEN"} < set(SECRETS)
    for variable in SECRETS:
        line = refusal({f"{variable}_FILE": "/nowhere/secret"})
        assert line == f"{variable}_FILE: can't read /nowhere/secret: No such file or directory"


@pytest.mark.parametrize("variable", SECRETS)
def test_a_secret_given_twice_is_refused(variable: str, file: str) -> None:
    line = refusal({variable: SECRET, f"{variable}_FILE": file})
    assert f"both {variable} and {variable}_FILE are set" in line
    assert SECRET not in line


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "it is empty"),
        (b"\n", "it is empty"),
        (b"\xef\xbb\xbf\n", "it is empty"),
        (b"a\xff", "it is not UTF-8"),
        (b"a" * 70_000, "it is larger"),
    ],
)
def test_a_file_that_holds_no_secret_is_refused(tmp_path: Path, content: bytes, reason: str) -> None:
    path = tmp_path / "secret"
    path.write_bytes(content)
    assert refusal({"REDIS_PASSWORD_FILE": str(path)}).startswith(f"REDIS_PASSWORD_FILE: can't read {path}: {reason}")


def test_a_file_named_for_what_is_no_secret_is_passed_over() -> None:
    assert load_settings({"REDIS_HOST_FILE": "/nowhere"}).redis_host == "127.0.0.1"


def test_no_secret_shows_in_the_settings_as_text_or_in_what_is_made_of_them() -> None:
    settings = load_settings(
        {
            **SASL,
            **SENTINELS,
            "CELERY_BROKER_SENTINEL_PASSWORD": SECRET,
            "LMS_CASSANDRA_USERNAME": "alice",
            "LMS_CASSANDRA_PASSWORD": SECRET,
            "REDIS_PASSWORD": SECRET,
            "SERVICE_SEARCH_TOKEN": "hunter2",
        }
    )
    made = (settings, store_config(settings), ledger_config(settings), broker_options(settings))
    for text in (format(it) + repr(it) for it in made):
        assert "hunter2" not in text
        assert "s%20ecret" not in text


def _both(url: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Give what kombu, by way of Celery's settings, and redis-py make of one URL."""
    settings = load_settings({"CELERY_BROKER_URL": url})
    broker = broker_options(settings)
    connection = Connection(broker.url, ssl=broker.use_ssl, transport_options=broker.transport)
    kombu = _connparams(connection)
    ledger = LedgerConnection(ledger_config(settings)).redis.connection_pool
    return kombu, {**ledger.connection_kwargs, "connection_class": ledger.connection_class}


def _connparams(connection: Connection) -> dict[str, Any]:
    # a channel connects when it is made as usual
    transport: Any = connection.transport
    channel = object.__new__(transport.Channel)
    channel.connection = transport
    found: dict[str, Any] = channel._connparams()
    return found


TLS_NAMES = ("host", "port", "db", "username", "password")


@pytest.mark.parametrize(
    ("query", "reqs", "hostname", "authority"),
    [
        ("", ssl.CERT_REQUIRED, True, None),
        ("?ssl_ca_certs={file}", ssl.CERT_REQUIRED, True, "{file}"),
        ("?ssl_check_hostname=false&ssl_ca_certs={file}", ssl.CERT_REQUIRED, False, "{file}"),
        ("?ssl_cert_reqs=optional", ssl.CERT_OPTIONAL, True, None),
        ("?ssl_cert_reqs=none", ssl.CERT_NONE, False, None),
    ],
)
def test_one_url_means_the_same_to_kombu_and_to_redis_py(
    file: str, query: str, reqs: ssl.VerifyMode, hostname: bool, authority: str | None
) -> None:
    for made in _both(f"rediss://al%20ice:p%40%2F%3Bw@host:6380/3{query.format(file=file)}"):
        assert [made.get(name) for name in TLS_NAMES] == ["host", 6380, 3, "al ice", "p@/;w"]
        assert issubclass(made["connection_class"], SSLConnection)
        connection = made["connection_class"](
            **{name: value for name, value in made.items() if name.startswith("ssl_")}
        )
        assert connection.cert_reqs == reqs
        assert connection.check_hostname is hostname
        assert connection.ca_certs == (None if authority is None else file)


def test_a_url_of_redis_in_plain_means_no_tls_to_either() -> None:
    for made in _both("redis://:pw@host:6380/3"):
        assert [made.get(name) for name in TLS_NAMES] == ["host", 6380, 3, None, "pw"]
        assert not issubclass(made["connection_class"], SSLConnection)


def test_kombu_would_check_nothing_of_a_bare_rediss_url() -> None:
    # why the URL is not handed over as it is; where this changes, broker_options may become simpler
    assert "ssl" not in parse_url("rediss://h/0")


@pytest.mark.parametrize("verified", ["true", "false"])
def test_rabbitmqs_certificate_is_checked_with_its_name(file: str, verified: str) -> None:
    settings = load_settings(
        {
            "CELERY_BROKER_URL": "amqps://u:p@h",
            "CELERY_BROKER_SSL_CA_LOCATION": file,
            "CELERY_BROKER_SSL_HOSTNAME_VERIFICATION": verified,
        }
    )
    made = broker_options(settings)
    expected = {"cert_reqs": ssl.CERT_REQUIRED, "ca_certs": file}
    assert made.use_ssl == ({**expected, "server_hostname": None} if verified == "true" else expected)
    assert made.transport == {"read_timeout": 5.0, "write_timeout": 5.0}


def test_sentinels_are_asked_by_the_broker_and_by_the_ledger() -> None:
    settings = load_settings(SENTINELS)
    made = broker_options(settings)
    assert made.use_ssl is None
    assert made.transport["master_name"] == "main"
    assert made.transport["sentinel_kwargs"]["password"] == "sentinels-own"
    pool: Any = LedgerConnection(ledger_config(settings)).redis.connection_pool
    assert pool.service_name == "main"
    assert [pool.connection_kwargs[name] for name in ("username", "password", "db")] == ["alice", "s ecret", 3]
    asked = [sentinel.connection_pool.connection_kwargs for sentinel in pool.sentinel_manager.sentinels]
    assert [(it["host"], it["port"], it["password"]) for it in asked] == [
        ("one", 26379, "sentinels-own"),
        ("two", 26379, "sentinels-own"),
    ]


def test_a_ledger_beside_the_relation_cache_is_reached_as_that_is(file: str) -> None:
    settings = load_settings(
        {
            "CELERY_BROKER_URL": "amqp://h",
            "REDIS_HOST": "r",
            "REDIS_USERNAME": "al ice",
            "REDIS_PASSWORD": SECRET,
            "REDIS_SSL_ENABLED": "true",
            "REDIS_SSL_CA_LOCATION": file,
            "REDIS_SSL_HOSTNAME_VERIFICATION": "false",
        }
    )
    ledger = LedgerConnection(ledger_config(settings)).redis.connection_pool
    cache = relation_cache_arguments(settings)
    for name in ("host", "port", "username", "password", "ssl_ca_certs", "ssl_check_hostname"):
        assert ledger.connection_kwargs[name] == cache[name]
    assert issubclass(ledger.connection_class, SSLConnection)


def test_the_search_service_is_shown_a_token_or_a_header() -> None:
    assert search_header(load_settings({})) is None
    assert search_header(load_settings({"SERVICE_SEARCH_TOKEN": "a.b"})) == ("Authorization", "Bearer a.b")
    assert search_header(load_settings({"SERVICE_SEARCH_HEADER": "X-Key: a b"})) == ("X-Key", "a b")


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("redis://:pw@h:1/2", "redis://h:1/2"),
        ("rediss://u:pw@h:1/2?ssl_ca_certs=/x", "rediss://h:1/2"),
        ("amqp://u:pw@a;amqp://u:pw@b:2/v", "amqp://a;amqp://b:2/v"),
        ("sentinel://u:pw@[::1]:1/0;sentinel://u:pw@two/0", "sentinel://[::1]:1/0;sentinel://two/0"),
    ],
)
def test_urls_are_told_without_user_and_password(url: str, shown: str) -> None:
    assert masked(url) == shown


@pytest.mark.parametrize("password", ["se;cret", "se;cret;", ";", "a:b;c"])
def test_a_semicolon_in_a_password_is_part_of_it(password: str) -> None:
    """The ledger's client takes it; a broker's URL with one is refused, since Celery's client does not."""
    settings = load_settings({"LEDGER_REDIS_URL": f"redis://:{password}@ledger:6379/0"})
    assert masked(settings.ledger_redis_url) == "redis://ledger:6379/0"
    made = LedgerConnection(ledger_config(settings)).redis.connection_pool.connection_kwargs
    assert made["password"] == password
    assert secrets_of([settings.ledger_redis_url]) == {password}
    assert "CELERY_BROKER_URL" in refusal({"CELERY_BROKER_URL": settings.ledger_redis_url})


@pytest.mark.parametrize(
    ("variable", "url"),
    [
        ("CELERY_BROKER_URL", "amqp://alice:2024/Geheim@rabbit/vhost"),
        ("CELERY_BROKER_URL", "redis://alice:2024/Geheim@h"),
        ("CELERY_BROKER_URL", "redis://alice:2024?Geheim@h"),
        ("LEDGER_REDIS_URL", "redis://alice:2024#Geheim@h"),
        ("SERVICE_SEARCH_BASEPATH", "http://u:12/Geheim@host"),
    ],
)
def test_a_password_that_would_be_taken_for_a_port_is_refused_with_what_to_do(variable: str, url: str) -> None:
    line = refusal({variable: url})
    assert "Geheim" not in line
    assert "percent sign" in line


@pytest.mark.parametrize("query", ["?ssl=true", "?ssl_cert_reqs=none", "#x"])
def test_a_query_of_rabbitmq_s_url_would_replace_our_tls(query: str) -> None:
    assert "celery.broker.ssl.ca.location" in refusal({"CELERY_BROKER_URL": f"amqps://u:p@h/v{query}"})
