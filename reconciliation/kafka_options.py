"""How every client of Kafka is connected, from the settings, and what to look at when it is refused.

See docs/secured-servers.md.
"""

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from confluent_kafka import KafkaError, KafkaException, Producer

from reconciliation.errors import SettingsError
from reconciliation.settings import Settings
from reconciliation.settings_sources import environment_variable

Option = str | int | float | bool
T = TypeVar("T")

# librdkafka's own log goes to standard error in a form of its own; what an operator has to know comes through error_cb
_LOG_EMERGENCIES_ALONE = 2
_SETTINGS = {
    name: f"kafka.{name}"
    for name in (
        "security.protocol",
        "sasl.mechanism",
        "sasl.username",
        "ssl.ca.location",
        "ssl.certificate.location",
        "ssl.key.location",
        "ssl.key.password",
    )
}
_MAY_BE_SECRET = ("password", "secret", "pem", "config", "ssl.key")

_LOGIN = "kafka.sasl.mechanism, kafka.sasl.username and kafka.sasl.password (KAFKA_SASL_PASSWORD)"
_ADDRESS = "kafka.broker-servers (KAFKA_BROKER_SERVERS) and kafka.security.protocol (KAFKA_SECURITY_PROTOCOL)"
_CERTIFICATES = "kafka.security.protocol (KAFKA_SECURITY_PROTOCOL) and kafka.ssl.ca.location (KAFKA_SSL_CA_LOCATION)"
_REMEDIES = {
    KafkaError._AUTHENTICATION: _LOGIN,  # noqa: SLF001 - its public name has the _
    KafkaError.SASL_AUTHENTICATION_FAILED: _LOGIN,
    KafkaError.UNSUPPORTED_SASL_MECHANISM: _LOGIN,
    KafkaError._SSL: _CERTIFICATES,  # noqa: SLF001 - as above
    # all that is told where plain text meets a port that speaks TLS: a connection that is closed at once
    KafkaError._ALL_BROKERS_DOWN: _ADDRESS,  # noqa: SLF001 - as above
}
_RIGHTS = (
    KafkaError.TOPIC_AUTHORIZATION_FAILED,
    KafkaError.GROUP_AUTHORIZATION_FAILED,
    KafkaError.CLUSTER_AUTHORIZATION_FAILED,
)


def connection_options(settings: Settings) -> dict[str, Option]:
    """Give the options of librdkafka that lead a client to Kafka: address, TLS, user, and those of kafka.options.

    Every client is made of these and of its own; none of its own may be one of REFUSED that stands here. Raises
    SettingsError, one line, where librdkafka refuses them: an option that it does not know, a file that is no key.
    """
    secured: dict[str, Option | None] = {
        "sasl.mechanism": settings.kafka_sasl_mechanism,
        "sasl.username": settings.kafka_sasl_username,
        "sasl.password": settings.kafka_sasl_password,
        "ssl.ca.location": settings.kafka_ssl_ca_location,
        "ssl.certificate.location": settings.kafka_ssl_certificate_location,
        "ssl.key.location": settings.kafka_ssl_key_location,
        "ssl.key.password": settings.kafka_ssl_key_password,
    }
    options: dict[str, Option] = {
        "log_level": _LOG_EMERGENCIES_ALONE,
        "security.protocol": settings.kafka_security_protocol,
        **{name: value for name, value in secured.items() if value is not None},
        **dict(settings.kafka_options or ()),
    }
    # without an address a client connects to nobody
    created(Producer, {**options, "log_level": 0})
    return {"bootstrap.servers": settings.kafka_broker_servers, **options}


def created(client: Callable[[dict[str, Any]], T], options: Mapping[str, Any]) -> T:
    """Make a client of these options.

    Raises SettingsError, one line without secrets, where librdkafka refuses them, alone or together.
    """
    try:
        return client(dict(options))
    except (KafkaException, TypeError, ValueError) as error:
        told = " ".join((error.args[0].str() if isinstance(error, KafkaException) else str(error)).split())
    # outside of the handler, so not chained: librdkafka quotes values that it can't use
    for name, value in options.items():
        if any(word in name for word in _MAY_BE_SECRET):
            told = told.replace(str(value), "***")
    setting = next((setting for name, setting in _SETTINGS.items() if name in told), "kafka.options")
    raise SettingsError(f"{setting} ({environment_variable(setting)}): librdkafka refuses it: {told}")


def remedy(error: KafkaError) -> str | None:
    """Name the settings to look at where Kafka, or the way to it, refuses us; None where they would not matter."""
    told = error.str()
    if error.code() in _REMEDIES:
        return _REMEDIES[error.code()]
    if error.code() in _RIGHTS:
        return "the rights of kafka.sasl.username (KAFKA_SASL_USERNAME)"
    # what librdkafka guesses of a connection that is closed at once (src/rdkafka_broker.c, rd_kafka_broker_fail)
    if "security.protocol" in told or "SSL" in told:
        return _CERTIFICATES
    return None
