"""The settings of Kafka: where it is, what is called how there and how clients log in; see docs/settings.md."""

from dataclasses import dataclass, field
from typing import Annotated

from reconciliation import settings_kinds as kind
from reconciliation.kafka_option_names import KAFKA_OPTIONS
from reconciliation.settings_catalogue import Check, Others
from reconciliation.settings_sources import Documented

PROTOCOLS = ("plaintext", "ssl", "sasl_plaintext", "sasl_ssl")
#: Ends the consumer group's name in shadow mode.
SHADOW_SUFFIX = "-shadow"
#: What the queue of bulk runs has after the group's name.
BULK_SUFFIX = "-bulk"
MECHANISMS = ("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512")


def _never_another_s_bulk_queue(group_id: str, _others: Others) -> str:
    if group_id.endswith(BULK_SUFFIX):
        raise ValueError(f'it ends in "{BULK_SUFFIX}", as the queue of another group\'s bulk runs does')
    return group_id


def _never_the_live_group(group_id: str, others: Others) -> str:
    # in the one value that topic offsets, ledger keys and queues are named by: nothing of a shadow meets the live
    if not others.get("shadow_enabled"):
        return group_id
    try:
        return str(kind.GROUP_ID.parse(f"{group_id}{SHADOW_SUFFIX}"))
    except ValueError:
        raise ValueError(f'with shadow.enabled "{SHADOW_SUFFIX}" is appended, and both together are too long') from None


def _differs_from_input(topic: str, others: Others) -> str:
    # what we send would come back to us as a request, for ever
    if topic == others.get("kafka_input_topic"):
        raise ValueError("kafka.input.topic has that name, and events would go round in a circle")
    return topic


def _goes_with_kafka_user(value: str | None, others: Others) -> str | None:
    protocol = others.get("kafka_security_protocol", "")
    if value is None and protocol.startswith("sasl_"):
        raise ValueError(f"kafka.security.protocol is {protocol}")
    if value is not None and protocol and not protocol.startswith("sasl_"):
        raise ValueError(f"kafka.security.protocol is {protocol}, and it would not be used")
    return value


def _goes_with_kafka_tls(value: str | None, others: Others) -> str | None:
    protocol = others.get("kafka_security_protocol", "")
    if value is not None and protocol and not protocol.endswith("ssl"):
        raise ValueError(f"kafka.security.protocol is {protocol}, and it would not be used")
    return value


@dataclass(frozen=True, kw_only=True)
class KafkaSettings:
    """Addresses, topics, the consumer group, time limits in seconds, user, password and certificates."""

    kafka_broker_servers: Annotated[
        str, kind.BROKERS, Documented("kafka.broker-servers", "Kafka's bootstrap servers.")
    ] = "127.0.0.1:9092"
    kafka_input_topic: Annotated[
        str, kind.TOPIC, Documented("kafka.input.topic", "Sync requests are read from here.")
    ] = "{{env}}.batch.enrolment.sync.request"
    kafka_output_failed_topic: Annotated[
        str,
        kind.TOPIC,
        Check(_differs_from_input),
        Documented("kafka.output.failed.topic", "Requests that are given up go here."),
    ] = "{{env}}.enrolment.reconciliation.failed"
    kafka_audit_topic: Annotated[
        str,
        kind.TOPIC,
        Check(_differs_from_input),
        Documented("kafka.audit.topic", "A completion's audit event goes here.", ("kafka.output.audit.topic",)),
    ] = "{{env}}.telemetry.raw"
    kafka_certissue_topic: Annotated[
        str,
        kind.TOPIC,
        Check(_differs_from_input),
        Documented(
            "kafka.certissue.topic",
            "A completion's certificate event goes here.",
            ("kafka.output.certissue.topic",),
        ),
    ] = "{{env}}.issue.certificate.request"
    shadow_enabled: Annotated[
        bool,
        kind.SWITCH,
        Documented(
            "shadow.enabled",
            "Whether requests are only compared with what another job wrote; nothing is written or sent.",
        ),
    ] = False
    kafka_group_id: Annotated[
        str,
        kind.GROUP_ID,
        Check(_never_another_s_bulk_queue),
        Check(_never_the_live_group),
        Documented(
            "kafka.groupId",
            "The bridge's consumer group; ledger keys and Celery queues carry it too. With shadow.enabled "
            '"-shadow" is appended.',
        ),
    ] = "{{env}}-enrolment-reconciliation-group"
    kafka_timeout: Annotated[
        float, kind.seconds(1, 600), Documented("kafka.timeout", "How long Kafka may take to confirm an event.")
    ] = 30.0
    kafka_security_protocol: Annotated[
        str,
        kind.one_of(*PROTOCOLS),
        Documented("kafka.security.protocol", "Whether Kafka is spoken to through TLS (ssl), with a user (sasl)."),
    ] = "plaintext"
    kafka_sasl_mechanism: Annotated[
        str | None,
        kind.one_of(*MECHANISMS),
        Check(_goes_with_kafka_user),
        Documented("kafka.sasl.mechanism", "How the user logs in."),
    ] = None
    kafka_sasl_username: Annotated[
        str | None, kind.SHORT_TEXT, Check(_goes_with_kafka_user), Documented("kafka.sasl.username", "The user.")
    ] = None
    kafka_sasl_password: Annotated[
        str | None,
        kind.SECRET,
        Check(_goes_with_kafka_user),
        Documented("kafka.sasl.password", "The user's password.", secret=True),
    ] = field(default=None, repr=False)
    kafka_ssl_ca_location: Annotated[
        str | None,
        kind.FILE,
        Check(_goes_with_kafka_tls),
        Documented(
            "kafka.ssl.ca.location",
            "The authority that signed Kafka's certificates (PEM).",
            default="the system's authorities",
        ),
    ] = None
    kafka_ssl_certificate_location: Annotated[
        str | None,
        kind.FILE,
        Check(_goes_with_kafka_tls),
        Documented("kafka.ssl.certificate.location", "Our own certificate (PEM), where Kafka asks for one."),
    ] = None
    kafka_ssl_key_location: Annotated[
        str | None,
        kind.FILE,
        Check(_goes_with_kafka_tls),
        Documented("kafka.ssl.key.location", "That certificate's key (PEM)."),
    ] = None
    kafka_ssl_key_password: Annotated[
        str | None,
        kind.SECRET,
        Check(_goes_with_kafka_tls),
        Documented("kafka.ssl.key.password", "What the key is locked with.", secret=True),
    ] = field(default=None, repr=False)
    kafka_options: Annotated[
        tuple[tuple[str, str], ...] | None,
        KAFKA_OPTIONS,
        Documented(
            "kafka.options",
            "Further options of librdkafka, for every client; those on which safety hangs are refused.",
            secret=True,
            is_block=True,
        ),
    ] = field(default=None, repr=False)

    @property
    def shadow_group_id(self) -> str:
        """The group that shadow mode works in, whether it is on or off."""
        return self.kafka_group_id if self.shadow_enabled else f"{self.kafka_group_id}{SHADOW_SUFFIX}"

    @property
    def bulk_queue(self) -> str:
        """Celery's queue of bulk runs' messages; that of the clicks' is called as the group."""
        return f"{self.kafka_group_id}{BULK_SUFFIX}"
