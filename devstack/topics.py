"""Creates Kafka topics and waits until they can be used."""

import time
from collections.abc import Mapping, Sequence
from typing import Any

from confluent_kafka import KafkaError, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient
from confluent_kafka.admin._listoffsets import OffsetSpec
from confluent_kafka.cimpl import NewTopic

from devstack.errors import DevstackError

PARTITIONS = 2
_LIMIT_SECONDS = 10.0
#: A client that met a Kafka that is only just coming back may never find it (librdkafka, issue 5301).
_CLIENTS = 4
_PAUSE_SECONDS = 0.05
_NEXT_STEP = "Ask `python -m devstack status` which servers answer, then start again."


def topic_names(environment: str) -> tuple[str, ...]:
    """Return the four topics of an environment (ENV, for example "local"): requests, failed, audit, certificates."""
    return (
        f"{environment}.batch.enrolment.sync.request",
        f"{environment}.enrolment.reconciliation.failed",
        f"{environment}.telemetry.raw",
        f"{environment}.issue.certificate.request",
    )


def create_topics(
    bootstrap: str, names: Sequence[str], partitions: int = PARTITIONS, options: Mapping[str, str] | None = None
) -> None:
    """Create the topics that are missing at `bootstrap` (host:port) and return when every partition's leader answers.

    `options` are more of librdkafka's, for a Kafka that asks for a user.

    Raises DevstackError when Kafka refuses or does not answer within 40 seconds.
    """
    reason = ""
    for _ in range(_CLIENTS):
        client = AdminClient({"bootstrap.servers": bootstrap, "log_level": 0, **(options or {})})
        try:
            _create(client, names, partitions)
            missing = _await_leaders(client, names)
        except (KafkaException, TimeoutError) as error:
            reason = f"topics could not be created: {error or 'no answer'}"
            continue
        if not missing:
            return
        reason = f"no partition leader for {', '.join(missing)} within {_LIMIT_SECONDS:.0f} s"
    raise DevstackError("kafka", reason, _NEXT_STEP)


def _create(client: AdminClient, names: Sequence[str], partitions: int) -> None:
    wanted = [NewTopic(name, num_partitions=partitions, replication_factor=1) for name in names]
    for future in client.create_topics(wanted, request_timeout=_LIMIT_SECONDS).values():
        try:
            future.result(timeout=_LIMIT_SECONDS)
        except KafkaException as error:
            if error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:
                raise


def _await_leaders(client: AdminClient, names: Sequence[str]) -> list[str]:
    """Wait until every partition has a leader; return the topics of those that have none at the limit."""
    deadline = time.monotonic() + _LIMIT_SECONDS
    while (missing := _without_leader(client, names)) and time.monotonic() < deadline:
        time.sleep(_PAUSE_SECONDS)
    return missing


def _without_leader(client: AdminClient, names: Sequence[str]) -> list[str]:
    """List the topics that the cluster does not show whole, or whose leaders do not yet answer as such."""
    known = client.list_topics(timeout=_LIMIT_SECONDS).topics
    return [name for name in names if name not in known or not _leads(client, name, known[name].partitions)]


def _leads(client: AdminClient, name: str, partitions: Any) -> bool:
    if not partitions or any(partition.leader < 0 for partition in partitions.values()):
        return False
    # the cluster names a leader a moment before that broker knows, and until then it refuses reads and writes
    latest = OffsetSpec.latest()  # type: ignore[no-untyped-call]  # the client does not type it
    places = {TopicPartition(name, number): latest for number in partitions}
    for answer in client.list_offsets(places, request_timeout=_LIMIT_SECONDS).values():
        try:
            answer.result(timeout=_LIMIT_SECONDS)
        except KafkaException:
            return False
    return True
