"""What `kafka.options` may hold: options of librdkafka, but none on which safety hangs (docs/secured-servers.md)."""

import json
import re
from types import MappingProxyType

from reconciliation.settings_kinds import Kind

_NAME = re.compile(r"[a-z][a-z0-9._]{0,99}", re.ASCII)
_LONGEST_VALUE = 10_000

_OFFSETS = "what is committed is what the ledger holds, and the bridge alone says so"
_START = "where reading begins is told by the ledger"
_GROUP = "the bridge hands partitions over in a way of its own"
_CONFIRMED = "an event counts as sent only when Kafka has it safely, and once"
_TIME = "kafka.timeout (KAFKA_TIMEOUT) says how long Kafka may take"
_SIZE = "how large an event may be is settled by what the failed topic takes"
_CODE = "code is not loaded by a setting"
_REASONS = {
    "bootstrap.servers": "kafka.broker-servers (KAFKA_BROKER_SERVERS) is the setting for it",
    "metadata.broker.list": "kafka.broker-servers (KAFKA_BROKER_SERVERS) is the setting for it",
    "group.id": "kafka.groupId (KAFKA_GROUPID) is the setting for it",
    "security.protocol": "kafka.security.protocol (KAFKA_SECURITY_PROTOCOL) is the setting for it",
    "sasl.mechanism": "kafka.sasl.mechanism (KAFKA_SASL_MECHANISM) is the setting for it",
    "sasl.mechanisms": "kafka.sasl.mechanism (KAFKA_SASL_MECHANISM) is the setting for it",
    "sasl.username": "kafka.sasl.username (KAFKA_SASL_USERNAME) is the setting for it",
    "sasl.password": "kafka.sasl.password (KAFKA_SASL_PASSWORD) is the setting for it",
    "ssl.ca.location": "kafka.ssl.ca.location (KAFKA_SSL_CA_LOCATION) is the setting for it",
    "ssl.certificate.location": "kafka.ssl.certificate.location (KAFKA_SSL_CERTIFICATE_LOCATION) is the setting for it",
    "ssl.key.location": "kafka.ssl.key.location (KAFKA_SSL_KEY_LOCATION) is the setting for it",
    "ssl.key.password": "kafka.ssl.key.password (KAFKA_SSL_KEY_PASSWORD) is the setting for it",
    **dict.fromkeys(
        (
            "enable.auto.commit",
            "auto.commit.enable",
            "auto.commit.interval.ms",
            "enable.auto.offset.store",
            "offset.store.method",
            "offset.store.path",
            "offset.store.sync.interval.ms",
        ),
        _OFFSETS,
    ),
    **dict.fromkeys(("auto.offset.reset", "enable.partition.eof", "allow.auto.create.topics"), _START),
    **dict.fromkeys(
        (
            "partition.assignment.strategy",
            "group.protocol",
            "group.remote.assignor",
            "group.instance.id",
            "group.protocol.type",
            "max.poll.interval.ms",
        ),
        _GROUP,
    ),
    **dict.fromkeys(
        (
            "acks",
            "request.required.acks",
            "enable.idempotence",
            "enable.gapless.guarantee",
            "transactional.id",
            "transaction.timeout.ms",
            "retries",
            "message.send.max.retries",
            "max.in.flight",
            "max.in.flight.requests.per.connection",
            "delivery.report.only.error",
            "partitioner",
        ),
        _CONFIRMED,
    ),
    **dict.fromkeys(("delivery.timeout.ms", "message.timeout.ms", "topic.metadata.propagation.max.ms"), _TIME),
    **dict.fromkeys(("message.max.bytes", "batch.size", "message.copy.max.bytes"), _SIZE),
    **dict.fromkeys(("plugin.library.paths", "logger", "opaque", "default_topic_conf", "default.topic.config"), _CODE),
    **dict.fromkeys(("on_commit", "on_delivery", "key.serializer", "value.serializer"), _CODE),
}
#: Options that the product sets itself, each with the reason.
REFUSED = MappingProxyType(_REASONS)


def _parse_options(text: str) -> tuple[tuple[str, str], ...]:
    options = _from_object(text) if text.startswith("{") else _from_pairs(text)
    for name, value in options:
        # callbacks are no text, and librdkafka's other names all look like this
        if _NAME.fullmatch(name) is None or not value or len(value) > _LONGEST_VALUE or not value.isprintable():
            raise ValueError
        reason = REFUSED.get(name) or (_CODE if name.endswith("_cb") else None)
        if reason is not None:
            raise ValueError(f"{name} can't stand there: {reason}")
    if len({name for name, _ in options}) < len(options):
        raise ValueError("an option stands there twice")
    return tuple(options)


def _from_pairs(text: str) -> list[tuple[str, str]]:
    pairs = [pair.partition("=") for pair in text.split(",")]
    if not all(sign for _, sign, _ in pairs):
        raise ValueError
    return [(name.strip(), value.strip()) for name, _, value in pairs]


def _from_object(text: str) -> list[tuple[str, str]]:
    try:
        given = json.loads(text, object_pairs_hook=list)
    except (ValueError, RecursionError):
        # json's own words tell the place, and nothing of the value
        raise ValueError("it is no JSON object") from None
    if not all(isinstance(value, str | int | float) for _, value in given):
        raise ValueError
    return [(name, str(value).lower() if isinstance(value, bool) else str(value).strip()) for name, value in given]


KAFKA_OPTIONS = Kind("name=value pairs separated by commas, or a JSON object of such", _parse_options)
