"""What was seen of Kafka, and what that means for the product. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from commands.checking.findings import Finding, State, named, not_looked_at, unreachable
from reconciliation.settings import Settings

SERVER = "Kafka"
#: A failed event that nobody looked at within this time (ms) may be gone after a long weekend.
SHORT_RETENTION_MS = 2 * 24 * 3_600_000

_HOUR_MS = 3_600_000
_DAY_HOURS = 48
#: The setting of each of the four topics.
_TOPIC_SETTINGS = ("kafka.input.topic", "kafka.output.failed.topic", "kafka.audit.topic", "kafka.certissue.topic")


@dataclass(frozen=True, slots=True)
class TopicSeen:
    """One topic. `replicas` and `in_sync` are those of the partition that has the fewest.

    `config` maps names of the topic's configuration to values; a text in its place says why it was not told.
    """

    partitions: int
    without_leader: tuple[int, ...]
    replicas: int
    in_sync: int
    config: Mapping[str, str] | str


@dataclass(frozen=True, slots=True)
class MemberSeen:
    """One member of the group; `topics` are those it was given partitions of, None where that can't be told."""

    client_id: str
    host: str
    topics: tuple[str, ...] | None


@dataclass(frozen=True, slots=True)
class GroupSeen:
    """The consumer group: `committed` counts partitions of the input topic that have a commit, `lag` their records."""

    state: str
    members: tuple[MemberSeen, ...]
    committed: int
    lag: int


@dataclass(frozen=True, slots=True)
class KafkaSeen:
    """What Kafka answered. `trouble` is what its client said where it did not; then the rest is empty.

    A topic is None where there is none by this name; it and the group are a text where they may not be seen.
    """

    trouble: str = ""
    brokers: tuple[str, ...] = ()
    topics: Mapping[str, TopicSeen | str | None] = field(default_factory=dict)
    group: GroupSeen | str = ""


def judge_kafka(settings: Settings, seen: KafkaSeen) -> list[Finding]:
    """Say what was found, a row a check."""
    servers = named("kafka.broker-servers")
    topics = named_topics(settings)
    rest = [f"topic {name}" for name in topics.values()] + ["failed topic's retention", "consumer group"]
    if seen.trouble:
        # a broker that expects TLS or a login hangs up on a client that begins otherwise, and so does what is no Kafka
        protocol = named("kafka.security.protocol", "kafka.ssl.ca.location")
        login = named("kafka.sasl.mechanism", "kafka.sasl.username", "kafka.sasl.password")
        away = unreachable(
            SERVER,
            "a broker answers",
            seen.trouble,
            settings.kafka_broker_servers,
            servers,
            tls=f"have both sides speak TLS, or none: {protocol}",
            password=f"correct {login}",
            other=f"see whether that listener wants TLS or a login: {protocol} and {login}; or correct {servers}",
        )
        return [away, *not_looked_at(SERVER, rest, "Kafka does not answer")]
    found = f"{settings.kafka_broker_servers}: {len(seen.brokers)} in the cluster ({', '.join(seen.brokers)})"
    return [
        Finding(SERVER, "a broker answers", State.OK, found),
        *(_judge_topic(setting, name, seen.topics.get(name)) for setting, name in topics.items()),
        _judge_retention(seen.topics.get(settings.kafka_output_failed_topic)),
        _judge_group(settings, seen.group),
    ]


def named_topics(settings: Settings) -> dict[str, str]:
    """Give the topics' names by their settings: the four, and that of healing where it is enabled."""
    names = (
        settings.kafka_input_topic,
        settings.kafka_output_failed_topic,
        settings.kafka_audit_topic,
        settings.kafka_certissue_topic,
    )
    healing = {"relations.healing.topic": settings.relation_healing_topic} if settings.relation_healing_enabled else {}
    return dict(zip(_TOPIC_SETTINGS, names, strict=True)) | healing


def _judge_topic(setting: str, name: str, seen: TopicSeen | str | None) -> Finding:
    what = f"topic {name}"
    if seen is None:
        return Finding(SERVER, what, State.WRONG, "does not exist", f"create it, or correct {named(setting)}")
    if isinstance(seen, str):
        return Finding(SERVER, what, State.WRONG, seen, f"let this client see it, or correct {named(setting)}")
    told = f"{_count(seen.partitions, 'partition')}, replication factor {seen.replicas}"
    least = None
    if isinstance(seen.config, str):
        told += f"; its configuration is not told: {seen.config}"
    else:
        least = _number(seen.config.get("min.insync.replicas"))
        told += f", min.insync.replicas {'not told' if least is None else least}"
    if seen.without_leader:
        numbers = ", ".join(map(str, seen.without_leader))
        step = "bring back the brokers that hold them"
        return Finding(SERVER, what, State.WRONG, f"{told}; no leader for partitions {numbers}", step)
    if least is not None and seen.in_sync < least:
        told += f"; a partition has {seen.in_sync} in sync, so Kafka confirms no event"
        return Finding(SERVER, what, State.WRONG, told, "bring back brokers, or lower the topic's min.insync.replicas")
    return Finding(SERVER, what, State.OK, told)


def _judge_retention(seen: TopicSeen | str | None) -> Finding:
    what = "failed topic's retention"
    if not isinstance(seen, TopicSeen) or isinstance(seen.config, str):
        return Finding(SERVER, what, State.NOT_LOOKED_AT, "the topic or its configuration can't be seen")
    policy, kept = seen.config.get("cleanup.policy", ""), _number(seen.config.get("retention.ms"))
    if "compact" in policy:
        detail = f"cleanup.policy is {policy}: of each learner's failed events the last alone is kept"
        return Finding(SERVER, what, State.WARNING, detail, "set the topic's cleanup.policy to delete")
    if kept is None:
        return Finding(SERVER, what, State.NOT_LOOKED_AT, "retention.ms is not told")
    if kept < 0:
        return Finding(SERVER, what, State.OK, "kept for ever")
    hours = kept / _HOUR_MS
    told = f"kept for {hours:g} hours" if hours < _DAY_HOURS else f"kept for {hours / 24:g} days"
    if kept <= SHORT_RETENTION_MS:
        step = "raise the topic's retention.ms: an event that nobody looks at in time is lost"
        return Finding(SERVER, what, State.WARNING, told, step)
    return Finding(SERVER, what, State.OK, told)


def _judge_group(settings: Settings, seen: GroupSeen | str) -> Finding:
    what = "consumer group"
    if isinstance(seen, str):
        return Finding(SERVER, what, State.NOT_LOOKED_AT, seen)
    offsets = f"{_count(seen.committed, 'partition')} committed, lag {seen.lag} in all"
    told = f"{settings.kafka_group_id}: {seen.state or 'not known to Kafka'}, {offsets}"
    if not seen.members:
        return Finding(SERVER, what, State.WARNING, f"{told}; no member", "start a bridge")
    clients = ", ".join(f"{it.client_id} at {it.host.lstrip('/')}" for it in seen.members)
    told += f"; {_count(len(seen.members), 'member')}: {clients}"
    others = {topic for it in seen.members for topic in it.topics or ()} - {settings.kafka_input_topic}
    if others:
        detail = f"{told}; some read other topics ({', '.join(sorted(others))}), so they are no bridges of this one"
        step = f"give each product a group of its own: {named('kafka.groupId')}"
        return Finding(SERVER, what, State.WARNING, detail, step)
    return Finding(SERVER, what, State.OK, told)


def _number(text: str | None) -> int | None:
    return int(text) if text is not None and text.lstrip("-").isdecimal() else None


def _count(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"
