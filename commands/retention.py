"""Asks Kafka what its administration knows: how long a topic keeps its records, and whether a group has members."""

from dataclasses import dataclass

from confluent_kafka import ConsumerGroupState, KafkaException
from confluent_kafka.admin import AdminClient
from confluent_kafka.admin._config import ConfigResource
from confluent_kafka.admin._resource import ResourceType

from commands.topics import QUESTION_SECONDS, Topic
from reconciliation.settings import Settings

# Beside the time that Kafka has, what its client may take to say that it had none.
_GRACE_SECONDS = 2.0
_WITHOUT_MEMBERS = (ConsumerGroupState.EMPTY, ConsumerGroupState.DEAD)


@dataclass(frozen=True, slots=True)
class Retention:
    """For how long (milliseconds) a topic keeps its records, None for ever; or why that is `unknown`."""

    retention_ms: int | None
    unknown: str | None = None


def retention_of(settings: Settings, topic: Topic) -> Retention:
    """Ask for a topic's retention.ms. That it is not told, for a right that is missing, is no error."""
    resource = ConfigResource(ResourceType.TOPIC, topic.name)
    limit = _limit(settings)
    # kept until the answer is there: a client that is let go of gives none
    admin = _admin(settings)
    try:
        answer = admin.describe_configs([resource], request_timeout=limit)[resource]
        told = int(answer.result(limit + _GRACE_SECONDS)["retention.ms"].value)
    except KafkaException as error:
        return Retention(None, error.args[0].str())
    except (KeyError, ValueError, TypeError, TimeoutError) as error:
        return Retention(None, f"Kafka's answer can't be used: {error!r}")
    return Retention(None if told < 0 else told)


def has_members(settings: Settings) -> bool | None:
    """Say whether anybody is in the bridge's consumer group; None where Kafka does not tell.

    Asked of all groups: questions to a group's own coordinator may end the process with a failed assertion while a
    broker goes away (librdkafka, issues 3663 and 4605).
    """
    limit = _limit(settings)
    admin = _admin(settings)
    try:
        answer = admin.list_consumer_groups(request_timeout=limit).result(limit + _GRACE_SECONDS)
    except (KafkaException, TimeoutError):
        return None
    states = [listed.state for listed in answer.valid if listed.group_id == settings.kafka_group_id]
    if not states and answer.errors:
        return None
    return any(state not in _WITHOUT_MEMBERS for state in states)


def _admin(settings: Settings) -> AdminClient:
    return AdminClient({"bootstrap.servers": settings.kafka_broker_servers, "log_level": 0})


def _limit(settings: Settings) -> float:
    return min(QUESTION_SECONDS, settings.kafka_timeout)
