"""The settings that say where the servers are and what is called how there; see docs/settings.md."""

from typing import Annotated, Any

from pydantic import Field, ValidationInfo, field_validator
from pydantic_settings import BaseSettings

from reconciliation import settings_kinds as kind
from reconciliation.settings_sources import Documented

#: Ends the consumer group's name in shadow mode.
SHADOW_SUFFIX = "-shadow"


def _ledger_beside(others: dict[str, Any]) -> str:
    """Find the ledger's Redis where none is named: the broker's when that is Redis, else the relation cache's."""
    broker: str = others["celery_broker_url"]
    if kind.is_redis_url(broker):
        return broker
    host = others["redis_host"]
    return f"redis://{f'[{host}]' if ':' in host else host}:{others['redis_port']}/0"


class ServerSettings(BaseSettings):
    """Kafka, Cassandra, Redis, the search service and Celery's broker: addresses, names and time limits in seconds."""

    environment: Annotated[
        str,
        kind.ENVIRONMENT,
        Documented("env", "The environment's name; stands for {{env}} in every other value.", ("job.env",)),
    ] = "local"
    kafka_broker_servers: Annotated[
        str, kind.BROKERS, Documented("kafka.broker-servers", "Kafka's bootstrap servers.")
    ] = "127.0.0.1:9092"
    kafka_input_topic: Annotated[
        str, kind.TOPIC, Documented("kafka.input.topic", "Sync requests are read from here.")
    ] = "{{env}}.batch.enrolment.sync.request"
    kafka_output_failed_topic: Annotated[
        str, kind.TOPIC, Documented("kafka.output.failed.topic", "Requests that are given up go here.")
    ] = "{{env}}.enrolment.reconciliation.failed"
    kafka_audit_topic: Annotated[
        str,
        kind.TOPIC,
        Documented("kafka.audit.topic", "A completion's audit event goes here.", ("kafka.output.audit.topic",)),
    ] = "{{env}}.telemetry.raw"
    kafka_certissue_topic: Annotated[
        str,
        kind.TOPIC,
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
        Documented(
            "kafka.groupId",
            "The bridge's consumer group; ledger keys and Celery queues carry it too. With shadow.enabled "
            '"-shadow" is appended.',
        ),
    ] = "{{env}}-enrolment-reconciliation-group"
    kafka_timeout: Annotated[
        float, kind.seconds(1, 600), Documented("kafka.timeout", "How long Kafka may take to confirm an event.")
    ] = 30.0
    cassandra_hosts: Annotated[
        tuple[str, ...],
        kind.HOSTS,
        Documented("lms-cassandra.host", "Cassandra nodes to ask for the others."),
    ] = ("127.0.0.1",)
    cassandra_port: Annotated[
        int, kind.PORT, Documented("lms-cassandra.port", "The port of Cassandra's native protocol.")
    ] = 9042
    cassandra_keyspace: Annotated[
        str, kind.CQL_IDENTIFIER, Documented("lms-cassandra.keyspace", "The keyspace of the three tables.")
    ] = "sunbird_courses"
    content_consumption_table: Annotated[
        str,
        kind.CQL_IDENTIFIER,
        Documented(
            "lms-cassandra.content_consumption.table",
            "What each learner consumed; only read.",
            ("lms-cassandra.consumption.table",),
        ),
    ] = "user_content_consumption"
    user_enrolments_table: Annotated[
        str, kind.CQL_IDENTIFIER, Documented("lms-cassandra.user_enrolments.table", "The enrolments.")
    ] = "user_enrolments"
    user_activity_agg_table: Annotated[
        str, kind.CQL_IDENTIFIER, Documented("lms-cassandra.user_activity_agg.table", "The aggregates.")
    ] = "user_activity_agg"
    cassandra_multi_datacenter: Annotated[
        bool,
        kind.SWITCH,
        Documented(
            "lms-cassandra.isMultiDCEnabled",
            "Accepted from the Flink job's file; every statement asks for LOCAL_QUORUM either way.",
        ),
    ] = False
    cassandra_local_datacenter: Annotated[
        str | None,
        kind.SHORT_TEXT,
        Documented("lms-cassandra.localDatacenter", "The data centre whose nodes are asked."),
    ] = None
    cassandra_timeout: Annotated[
        float, kind.seconds(0.1, 600), Documented("lms-cassandra.timeout", "How long a statement may take.")
    ] = 10.0
    cassandra_write_timestamps: Annotated[
        bool,
        kind.SWITCH,
        Documented(
            "lms-cassandra.write.timestamps",
            "Whether writes carry USING TIMESTAMP; false for YugabyteDB only, which gives up what it protects.",
        ),
    ] = True
    redis_host: Annotated[str, kind.HOST, Documented("redis.host", "The Redis that holds the relation cache.")] = (
        "127.0.0.1"
    )
    redis_port: Annotated[int, kind.PORT, Documented("redis.port", "That Redis server's port.")] = 6379
    relation_cache_database: Annotated[
        int,
        kind.whole_number(0, 9999),
        Documented("redis.database.relationCache.id", "The relation cache's database there."),
    ] = 10
    redis_timeout: Annotated[
        float, kind.seconds(0.1, 600), Documented("redis.timeout", "How long a call to Redis may take.")
    ] = 5.0
    search_base_path: Annotated[
        str | None,
        kind.BASE_PATH,
        Documented(
            "service.search.basePath",
            "The search service, asked only about courses whose leaf nodes are missing.",
        ),
    ] = None
    search_timeout: Annotated[
        float,
        kind.seconds(0.1, 600),
        Documented("service.search.timeout", "How long a search may take."),
    ] = 10.0
    celery_broker_url: Annotated[
        str, kind.BROKER_URL, Documented("celery.broker.url", "Celery's broker.", secret=True)
    ] = Field(default="redis://127.0.0.1:6379/0", repr=False)
    ledger_redis_url: Annotated[
        str,
        kind.REDIS_URL,
        Documented(
            "ledger.redis.url",
            "The Redis that holds the ledger; it must run with noeviction.",
            secret=True,
            default="celery.broker.url's when that is Redis, else redis.host and redis.port, database 0",
        ),
    ] = Field(default_factory=_ledger_beside, repr=False)

    @property
    def shadow_group_id(self) -> str:
        """The group that shadow mode works in, whether it is on or off."""
        return self.kafka_group_id if self.shadow_enabled else f"{self.kafka_group_id}{SHADOW_SUFFIX}"

    @field_validator("kafka_group_id")
    @classmethod
    def _never_the_live_group(cls, group_id: str, others: ValidationInfo) -> str:
        # in the one value that topic offsets, ledger keys and queues are named by: nothing of a shadow meets the live
        if not others.data.get("shadow_enabled"):
            return group_id
        try:
            return str(kind.GROUP_ID.parse(f"{group_id}{SHADOW_SUFFIX}"))
        except ValueError:
            raise ValueError(
                f'with shadow.enabled "{SHADOW_SUFFIX}" is appended, and both together are too long'
            ) from None

    @field_validator("kafka_output_failed_topic", "kafka_audit_topic", "kafka_certissue_topic")
    @classmethod
    def _differs_from_input(cls, topic: str, others: ValidationInfo) -> str:
        # what we send would come back to us as a request, for ever
        if topic == others.data.get("kafka_input_topic"):
            raise ValueError("kafka.input.topic has that name, and events would go round in a circle")
        return topic
