"""Asks Kafka what its administration knows: how long topics keep their records, and whether a group has members."""

from collections.abc import Sequence
from dataclasses import dataclass

from confluent_kafka import ConsumerGroupState, KafkaException
from confluent_kafka.admin import AdminClient
from confluent_kafka.admin._config import ConfigResource
from confluent_kafka.admin._resource import ResourceType

from commands.moments import format_span
from commands.topics import QUESTION_SECONDS
from reconciliation.kafka_options import connection_options, created
from reconciliation.settings import Settings

# Beside the time that Kafka has, what its client may take to say that it had none.
_GRACE_SECONDS = 2.0
_WITHOUT_MEMBERS = (ConsumerGroupState.EMPTY, ConsumerGroupState.DEAD)


@dataclass(frozen=True, slots=True)
class Retention:
    """How long a topic keeps a record: `keeps_ms` is None where it keeps it for ever or where `problem` says why not.

    `is_compacted` says that the last record of each key is kept whatever its age.
    """

    topic: str
    keeps_ms: int | None
    is_compacted: bool = False
    problem: str = ""

    def __str__(self) -> str:
        if self.problem:
            return f"not known: {self.problem}"
        length = "for ever" if self.keeps_ms is None else f"{format_span(self.keeps_ms)} (retention.ms)"
        return f"{length}; the last record of each key longer (cleanup.policy)" if self.is_compacted else length


def read_retentions(settings: Settings, topics: Sequence[str]) -> list[Retention]:
    """Ask Kafka for the retention of these topics; what it does not tell, for a right that is missing, is no error."""
    limit = _limit(settings)
    # kept until the answers are there: a client that is let go of gives none
    admin = _admin(settings)
    resources = [ConfigResource(ResourceType.TOPIC, topic) for topic in topics]
    answers = admin.describe_configs(resources, request_timeout=limit)
    found = []
    for topic, resource in zip(topics, resources, strict=True):
        try:
            entries = answers[resource].result(limit + _GRACE_SECONDS)
            keeps_ms, policy = int(entries["retention.ms"].value), str(entries["cleanup.policy"].value)
        except KafkaException as error:
            found.append(Retention(topic, None, problem=error.args[0].str()))
        except TimeoutError:
            found.append(Retention(topic, None, problem="Kafka does not answer"))
        except (KeyError, ValueError, TypeError) as error:
            found.append(Retention(topic, None, problem=f"Kafka's answer can't be used: {error!r}"))
        else:
            # a topic that is only compacted lets nothing go for its age
            deletes = keeps_ms >= 0 and "delete" in policy
            found.append(Retention(topic, keeps_ms if deletes else None, is_compacted="compact" in policy))
    return found


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
    return created(AdminClient, {**connection_options(settings), "log_level": 0})


def _limit(settings: Settings) -> float:
    return min(QUESTION_SECONDS, settings.kafka_timeout)
