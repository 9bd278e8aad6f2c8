"""How long Kafka keeps what lies on a topic, as its configuration says."""

from collections.abc import Sequence
from dataclasses import dataclass

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient
from confluent_kafka.admin._config import ConfigResource
from confluent_kafka.admin._resource import ResourceType

from commands.moments import shown_length


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
        length = "for ever" if self.keeps_ms is None else f"{shown_length(self.keeps_ms / 1000)} (retention.ms)"
        return f"{length}; the last record of each key longer (cleanup.policy)" if self.is_compacted else length


def read_retentions(servers: str, topics: Sequence[str], timeout: float) -> list[Retention]:
    """Ask Kafka for the retention of these topics, within `timeout` seconds; what it does not tell has a `problem`."""
    admin = AdminClient({"bootstrap.servers": servers, "log_level": 0})
    resources = [ConfigResource(ResourceType.TOPIC, topic) for topic in topics]
    answers = admin.describe_configs(resources, request_timeout=timeout)
    found = []
    for topic, resource in zip(topics, resources, strict=True):
        try:
            entries = answers[resource].result(timeout)
        except KafkaException as error:
            found.append(Retention(topic, None, problem=error.args[0].str()))
        except TimeoutError:
            found.append(Retention(topic, None, problem="Kafka does not answer"))
        else:
            keeps_ms = int(entries["retention.ms"].value)
            policy = entries["cleanup.policy"].value
            # a topic that is only compacted lets nothing go for its age
            deletes = keeps_ms >= 0 and "delete" in policy
            found.append(Retention(topic, keeps_ms if deletes else None, is_compacted="compact" in policy))
    return found
