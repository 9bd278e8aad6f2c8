"""Looks at Kafka: brokers, topics and the consumer group. It joins no group, makes no topic and commits nothing."""

import struct
from collections import deque
from collections.abc import Sequence
from typing import Any

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient
from confluent_kafka.admin._config import ConfigResource
from confluent_kafka.admin._resource import ResourceType

from commands.checking.findings import brief, words_of
from commands.checking.kafka_seen import GroupSeen, KafkaSeen, MemberSeen, TopicSeen, named_topics
from reconciliation.errors import SettingsError
from reconciliation.kafka_options import connection_options
from reconciliation.settings import Settings

_NO_TOPIC = (KafkaError._UNKNOWN_TOPIC, KafkaError.UNKNOWN_TOPIC_OR_PART)  # noqa: SLF001 - its public name has the _
_CONFIG_TOLD = ("retention.ms", "cleanup.policy", "min.insync.replicas")
#: How long the client's own reports of what went wrong are waited for, in seconds.
_LAST_WORDS = 0.2


def look_at_kafka(settings: Settings, limit: float) -> KafkaSeen:
    """Ask Kafka; each question may take `limit` seconds. What it does not answer is told in what is returned."""
    reports: deque[str] = deque(maxlen=20)
    try:
        connection = connection_options(settings)
    except SettingsError as error:
        return KafkaSeen(trouble=str(error))
    config: dict[str, Any] = {
        **connection,
        "log_level": 0,
        "error_cb": lambda error: reports.append(error.str()),
    }
    asking = Consumer(
        # without a subscription it joins no group
        {**config, "group.id": settings.kafka_group_id, "enable.auto.commit": False, "allow.auto.create.topics": False}
    )
    try:
        try:
            brokers = asking.list_topics(settings.kafka_input_topic, timeout=limit).brokers
        except KafkaException as error:
            asking.poll(_LAST_WORDS)
            return KafkaSeen(trouble=_last_word(reports, error, limit))
        admin = AdminClient(config)
        topics = {name: _topic(asking, admin, name, limit) for name in named_topics(settings).values()}
        group = _group(asking, admin, settings, topics[settings.kafka_input_topic], limit)
        return KafkaSeen(brokers=tuple(f"{it.host}:{it.port}" for it in brokers.values()), topics=topics, group=group)
    finally:
        asking.close()


def _last_word(reports: Sequence[str], error: KafkaException, limit: float) -> str:
    """Choose what says most: of each address the client tried it tells why; that all failed is no reason.

    Of one that takes connections and says nothing, it tells nothing.
    """
    told = (report.partition(" (after ")[0] for report in reports if "brokers are down" not in report)
    reasons = list(dict.fromkeys(told))
    return "; ".join(reasons[:3]) or f"timed out after {limit:g} s: {error.args[0].str()}"


def _topic(asking: Consumer, admin: AdminClient, name: str, limit: float) -> TopicSeen | str | None:
    """Look at one topic: None where there is none, a text that says why where it may not be seen."""
    try:
        seen = asking.list_topics(name, timeout=limit).topics[name]
    except KafkaException as error:
        return str(error.args[0].str())
    if seen.error is not None:
        return None if seen.error.code() in _NO_TOPIC else str(seen.error.str())
    partitions = seen.partitions.values()
    return TopicSeen(
        partitions=len(partitions),
        without_leader=tuple(sorted(it.id for it in partitions if it.leader < 0)),
        replicas=min((len(it.replicas) for it in partitions), default=0),
        in_sync=min((len(it.isrs) for it in partitions), default=0),
        config=_config(admin, name, limit),
    )


def _config(admin: AdminClient, name: str, limit: float) -> dict[str, str] | str:
    resource = ConfigResource(ResourceType.TOPIC, name)
    try:
        answer = admin.describe_configs([resource], request_timeout=limit)[resource].result(limit + 1)
    except (KafkaException, TimeoutError) as error:
        return brief(words_of(error))
    return {setting: answer[setting].value for setting in _CONFIG_TOLD if setting in answer}


def _group(
    asking: Consumer, admin: AdminClient, settings: Settings, topic: TopicSeen | str | None, limit: float
) -> GroupSeen | str:
    if not isinstance(topic, TopicSeen):
        return "the input topic can't be seen"
    places = [TopicPartition(settings.kafka_input_topic, number) for number in range(topic.partitions)]
    try:
        committed = {it.partition: it.offset for it in asking.committed(places, timeout=limit) if it.offset >= 0}
        lag = 0
        for place in places:
            first, end = asking.get_watermark_offsets(place, timeout=limit)
            lag += end - max(first, min(end, committed.get(place.partition, first)))
        # It is called deprecated, but asks brokers directly. What is to take its place looks for the group's
        # coordinator first, and may end this process where that goes away meanwhile (librdkafka, issue 4605).
        found = admin.list_groups(settings.kafka_group_id, timeout=limit)
    except KafkaException as error:
        return str(error.args[0].str())
    described = next((it for it in found if it.id == settings.kafka_group_id), None)
    members = () if described is None else tuple(_member(it) for it in described.members or ())
    state = "" if described is None else described.state or ""
    return GroupSeen(state=state, members=members, committed=len(committed), lag=lag)


def _member(member: Any) -> MemberSeen:
    return MemberSeen(member.client_id or "", member.client_host or "", assigned_topics(member.assignment))


def assigned_topics(assignment: bytes | None) -> tuple[str, ...] | None:
    """Read which topics a member of a group was given (Kafka's consumer protocol); None where it can't be read."""
    try:
        data = assignment or b""
        _version, count = struct.unpack_from(">hi", data)
        at, topics = 6, []
        for _ in range(count):
            (size,) = struct.unpack_from(">h", data, at)
            topics.append(data[at + 2 : at + 2 + size].decode())
            (partitions,) = struct.unpack_from(">i", data, at + 2 + size)
            at += 6 + size + 4 * partitions
    except (struct.error, UnicodeDecodeError):
        return None
    return tuple(topics)
