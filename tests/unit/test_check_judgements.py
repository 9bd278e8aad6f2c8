"""What `check` makes of what it saw of each server."""

import io
import re
import threading
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from rich.console import Console

from commands import check
from commands.checking.cassandra_seen import (
    AGGREGATES,
    CONSUMPTION,
    ENROLMENTS,
    CassandraSeen,
    Expected,
    KeyspaceSeen,
    NodeSeen,
    TableSeen,
    judge_cassandra,
)
from commands.checking.findings import (
    Finding,
    State,
    Trouble,
    brief,
    secrets_of,
    trouble_of,
    without,
    words_of,
)
from commands.checking.kafka_look import assigned_topics
from commands.checking.kafka_seen import GroupSeen, KafkaSeen, MemberSeen, TopicSeen, judge_kafka
from commands.checking.other_looks import judge_settings, look_at_search
from commands.checking.redis_seen import (
    BrokerSeen,
    LedgerSeen,
    RelationsSeen,
    ServerSeen,
    judge_broker,
    judge_ledger,
    judge_relations,
)
from commands.checking.side_by_side import side_by_side
from reconciliation.settings import Settings, load_settings
from reconciliation.statements import Tables, statement_texts

SETTINGS = load_settings({})
INPUT, FAILED = SETTINGS.kafka_input_topic, SETTINGS.kafka_output_failed_topic
TOPICS = (INPUT, FAILED, SETTINGS.kafka_audit_topic, SETTINGS.kafka_certissue_topic)

CONFIG = {"retention.ms": str(7 * 86_400_000), "cleanup.policy": "delete", "min.insync.replicas": "2"}
TOPIC = TopicSeen(partitions=4, without_leader=(), replicas=3, in_sync=3, config=CONFIG)
GROUP = GroupSeen("Stable", (MemberSeen("rdkafka", "/10.0.0.1", (INPUT,)),), committed=4, lag=0)
KAFKA = KafkaSeen(brokers=("kafka-1:9092",), topics=dict.fromkeys(TOPICS, TOPIC), group=GROUP)


def _table(expected: Expected, layout: int = 0) -> TableSeen:
    return TableSeen(*expected.keys[layout], {**expected.columns, "others": "list<text>"})


TABLES = {
    "user_content_consumption": _table(CONSUMPTION),
    "user_enrolments": _table(ENROLMENTS),
    "user_activity_agg": _table(AGGREGATES),
}
NODES = tuple(NodeSeen(f"10.0.0.{number}", "dc1", is_up=True) for number in (1, 2, 3))
CASSANDRA = CassandraSeen(
    nodes=NODES, datacenter="dc1", keyspace=KeyspaceSeen({"dc1": 3}, TABLES), clock=0.1, refused=""
)

SERVER = ServerSeen(
    version="7.2.4",
    role="master",
    policy="noeviction",
    is_append_only=True,
    is_append_failing=False,
    appendfsync="always",
    used_bytes=10 * 2**20,
    most_bytes=100 * 2**20,
)
LEDGER = LedgerSeen(server=SERVER, open=5, counted=3)


def _not_ok(findings: list[Finding]) -> dict[str, Finding]:
    return {finding.what: finding for finding in findings if finding.state is not State.OK}


def _the_one(findings: list[Finding], state: State) -> Finding:
    """The one row that is not in order; what is wrong or warned of has a next step."""
    (finding,) = _not_ok(findings).values()
    assert finding.state is state
    assert finding.next_step or state is State.NOT_LOOKED_AT
    return finding


def test_servers_that_are_well_have_nothing_but_ticks() -> None:
    assert _not_ok(judge_kafka(SETTINGS, KAFKA)) == {}
    assert _not_ok(judge_cassandra(SETTINGS, CASSANDRA)) == {}
    assert _not_ok(judge_relations(SETTINGS, RelationsSeen(keys=3, leaf_nodes=True))) == {}
    assert _not_ok(judge_broker(SETTINGS, BrokerSeen(messages=2))) == {}
    assert _not_ok(judge_ledger(SETTINGS, LEDGER)) == {}


@pytest.mark.parametrize(
    "judge",
    [
        lambda: judge_kafka(SETTINGS, KafkaSeen(trouble="Connect to ipv4#127.0.0.1:9092 failed: Connection refused")),
        lambda: judge_cassandra(SETTINGS, CassandraSeen(trouble="ConnectionRefusedError: [Errno 111]")),
        lambda: judge_relations(SETTINGS, RelationsSeen(trouble="Error 111. Connection refused.")),
        lambda: judge_broker(SETTINGS, BrokerSeen(trouble="OperationalError: Connection refused")),
        lambda: judge_ledger(SETTINGS, LedgerSeen(trouble="Error 111. Connection refused.")),
    ],
)
def test_a_server_that_is_away_is_one_cross_and_the_rest_is_not_looked_at(
    judge: Callable[[], list[Finding]],
) -> None:
    first, *rest = judge()
    assert first.state is State.WRONG
    assert Trouble.REFUSED in first.detail
    assert re.search(r"[a-z.-]+ \([A-Z_]+\)", first.next_step)
    assert rest
    assert {finding.state for finding in rest} == {State.NOT_LOOKED_AT}


@pytest.mark.parametrize(
    ("told", "trouble"),
    [
        ("nohost:1/bootstrap: Failed to resolve 'nohost:1': Name or service not known", Trouble.UNKNOWN_HOST),
        ("UnresolvableContactPoints: {}", Trouble.UNKNOWN_HOST),
        ("ConnectionError: Error 111 connecting to redis:1. Connection refused.", Trouble.REFUSED),
        ("TimeoutError: Timeout connecting to server <- _ssl.c:989: The handshake operation timed out", Trouble.TLS),
        ("AuthenticationError: invalid username-password pair or user is disabled.", Trouble.PASSWORD),
        ("AuthenticationError: NOAUTH Authentication required.", Trouble.PASSWORD),
        ("OperationTimedOut: errors=Timed out creating connection (3.0 seconds)", Trouble.SILENT),
        ('InvalidResponse: Protocol error, got "\\x85" as reply type byte', Trouble.OTHER),
    ],
)
def test_a_client_s_words_tell_the_kind_of_trouble(told: str, trouble: Trouble) -> None:
    assert trouble_of(told) is trouble


def test_a_host_s_name_is_no_kind_of_trouble() -> None:
    told = "TimeoutError: Timeout connecting to tls.credentials.example"
    assert trouble_of(told, "redis://tls.credentials.example:6379/0") is Trouble.SILENT


def test_an_error_s_causes_are_known_but_not_shown() -> None:
    try:
        try:
            raise ConnectionRefusedError(111, "Connection refused")
        except OSError as cause:
            raise RuntimeError("it\ndid not work") from cause
    except RuntimeError as error:
        told = words_of(error)
    assert trouble_of(told) is Trouble.REFUSED
    assert brief(told) == "RuntimeError: it did not work"
    assert len(brief("x" * 5_000)) < 400


# Kafka


def _kafka(**changes: Any) -> list[Finding]:
    return judge_kafka(SETTINGS, replace(KAFKA, **changes))


def _topic(name: str, topic: TopicSeen | str | None) -> dict[str, Any]:
    return {"topics": {**KAFKA.topics, name: topic}}


def test_a_missing_topic_is_a_cross_that_names_its_setting() -> None:
    finding = _the_one(_kafka(**_topic(SETTINGS.kafka_audit_topic, None)), State.WRONG)
    assert finding.what == f"topic {SETTINGS.kafka_audit_topic}"
    assert "kafka.audit.topic (KAFKA_AUDIT_TOPIC)" in finding.next_step


def test_a_missing_input_topic_leaves_the_group_aside() -> None:
    found = _not_ok(_kafka(**_topic(INPUT, None), group="the input topic can't be seen"))
    assert found[f"topic {INPUT}"].state is State.WRONG
    assert found["consumer group"].state is State.NOT_LOOKED_AT


def test_a_topic_that_can_t_confirm_events_is_a_cross() -> None:
    too_few = _the_one(_kafka(**_topic(INPUT, replace(TOPIC, in_sync=1))), State.WRONG)
    assert "1 in sync" in too_few.detail
    leaderless = _the_one(_kafka(**_topic(INPUT, replace(TOPIC, without_leader=(0, 3)))), State.WRONG)
    assert "no leader for partitions 0, 3" in leaderless.detail


def test_a_topic_s_figures_are_told() -> None:
    (finding,) = [it for it in _kafka() if it.what == f"topic {INPUT}"]
    assert finding.detail == "4 partitions, replication factor 3, min.insync.replicas 2"


@pytest.mark.parametrize(
    ("config", "state", "told"),
    [
        ({"retention.ms": str(48 * 3_600_000)}, State.WARNING, "2 days"),
        ({"retention.ms": str(36 * 3_600_000)}, State.WARNING, "36 hours"),
        ({"retention.ms": str(48 * 3_600_000 + 1)}, State.OK, "2 days"),
        ({"retention.ms": "-1"}, State.OK, "for ever"),
        ({"cleanup.policy": "compact"}, State.WARNING, "the last alone"),
    ],
)
def test_short_retention_of_the_failed_topic_is_warned_of(config: dict[str, str], state: State, told: str) -> None:
    findings = _kafka(**_topic(FAILED, replace(TOPIC, config={**CONFIG, **config})))
    (finding,) = [it for it in findings if it.what == "failed topic's retention"]
    assert finding.state is state
    assert told in finding.detail


def test_a_configuration_that_may_not_be_seen_is_no_cross() -> None:
    found = _not_ok(_kafka(**_topic(FAILED, replace(TOPIC, config="not authorized"))))
    assert [finding.state for finding in found.values()] == [State.NOT_LOOKED_AT]


def test_a_group_without_members_or_with_strange_ones_is_warned_of() -> None:
    lonely = _the_one(_kafka(group=replace(GROUP, members=(), lag=12)), State.WARNING)
    assert "lag 12" in lonely.detail
    assert "no member" in lonely.detail
    other = MemberSeen("flink", "/10.0.0.9", ("some.topic",))
    strange = _the_one(_kafka(group=replace(GROUP, members=(*GROUP.members, other))), State.WARNING)
    assert "some.topic" in strange.detail
    assert "flink at 10.0.0.9" in strange.detail
    untold = replace(GROUP, members=(replace(other, topics=None),))
    assert _not_ok(_kafka(group=untold)) == {}


def test_a_member_s_assignment_is_read_as_kafka_writes_it() -> None:
    topic = INPUT.encode()
    one = len(topic).to_bytes(2) + topic + (2).to_bytes(4) + (0).to_bytes(4) + (1).to_bytes(4)
    two = (1).to_bytes(2) + b"x" + (0).to_bytes(4)
    assert assigned_topics((1).to_bytes(2) + (2).to_bytes(4) + one + two + b"\xff\xff\xff\xff") == (INPUT, "x")
    assert assigned_topics(b"") is None
    assert assigned_topics(b"\x00\x01\x00\x00\x00\x01\x00") is None


# Cassandra


def _cassandra(**changes: Any) -> list[Finding]:
    return judge_cassandra(SETTINGS, replace(CASSANDRA, **changes))


def _with_table(name: str, table: TableSeen | None) -> dict[str, Any]:
    tables = {**TABLES, name: table} if table else {other: it for other, it in TABLES.items() if other != name}
    return {"keyspace": KeyspaceSeen({"dc1": 3}, tables), "refused": "InvalidRequest: …"}


def test_the_other_key_layout_of_the_aggregates_is_fine() -> None:
    changes = _with_table("user_activity_agg", _table(AGGREGATES, layout=1))
    assert _not_ok(_cassandra(**{**changes, "refused": ""})) == {}


@pytest.mark.parametrize("name", TABLES)
def test_any_other_key_is_a_cross(name: str) -> None:
    table = replace(TABLES[name], partition_key=("context_id", "user_id"), clustering_key=())
    found = _not_ok(_cassandra(**_with_table(name, table)))
    assert found[f"table {name}"].state is State.WRONG
    assert "PRIMARY KEY ((context_id, user_id))" in found[f"table {name}"].detail


def test_a_missing_table_is_a_cross_and_reads_are_not_judged_by_it() -> None:
    found = _not_ok(_cassandra(**_with_table("user_content_consumption", None)))
    missing = found["table user_content_consumption"]
    assert missing.state is State.WRONG
    assert "LMS_CASSANDRA_CONTENT_CONSUMPTION_TABLE" in missing.next_step
    assert found["reads at LOCAL_QUORUM"].state is State.NOT_LOOKED_AT


def test_each_wrong_column_is_a_cross() -> None:
    columns = {**ENROLMENTS.columns, "status": "text"}
    del columns["completedon"]
    found = _not_ok(_cassandra(**_with_table("user_enrolments", replace(TABLES["user_enrolments"], columns=columns))))
    assert found["column user_enrolments.status"].detail == "is text, must be int"
    assert found["column user_enrolments.completedon"].detail == "is missing, must be timestamp"


def test_names_are_folded_as_cassandra_folds_them() -> None:
    settings = load_settings({"LMS_CASSANDRA_USER_ENROLMENTS_TABLE": "User_Enrolments"})
    assert _not_ok(judge_cassandra(settings, CASSANDRA)) == {}


def test_the_columns_are_those_of_the_statements() -> None:
    texts = statement_texts(Tables("k", "one", "two", "three"), write_timestamps=True)
    for name, expected in (("one", CONSUMPTION), ("two", ENROLMENTS), ("three", AGGREGATES)):
        of_table = [text for field in texts.__slots__ if f" k.{name}" in (text := getattr(texts, field))]
        assert of_table
        used = {word for text in of_table for word in re.findall(r"\b[a-z_]+\b", text)} - {"k", name}
        assert used == set(expected.columns), name


@pytest.mark.parametrize(
    ("changes", "state", "told"),
    [
        ({"keyspace": KeyspaceSeen({"dc2": 3}, TABLES)}, State.WRONG, "dc1 holds no copies"),
        ({"nodes": (NODES[0], *(replace(it, is_up=False) for it in NODES[1:]))}, State.WRONG, "where 1 are up"),
        ({"nodes": (replace(NODES[0], is_up=False), *NODES[1:])}, State.OK, "needs 2 in dc1"),
        ({"keyspace": KeyspaceSeen(3, TABLES)}, State.OK, "SimpleStrategy"),
        ({"keyspace": KeyspaceSeen("EverywhereStrategy", TABLES)}, State.NOT_LOOKED_AT, "EverywhereStrategy"),
    ],
)
def test_local_quorum_must_be_within_reach(changes: dict[str, Any], state: State, told: str) -> None:
    (finding,) = [it for it in _cassandra(**changes) if it.what == "replication"]
    assert finding.state is state
    assert told in finding.detail


def test_data_centres_are_held_against_the_setting() -> None:
    two = (*NODES, NodeSeen("10.1.0.1", "dc2", is_up=True))
    assert _not_ok(_cassandra(nodes=two))["data centre"].state is State.WARNING
    settings = load_settings({"LMS_CASSANDRA_LOCALDATACENTER": "dc9"})
    missing = _not_ok(judge_cassandra(settings, replace(CASSANDRA, is_datacenter_missing=True)))["data centre"]
    assert missing.state is State.WRONG
    assert "dc1" in missing.next_step


@pytest.mark.parametrize(("clock", "state"), [(2.0, State.OK), (-2.1, State.WARNING), ("refused", State.NOT_LOOKED_AT)])
def test_clocks_may_differ_by_two_seconds(clock: float | str, state: State) -> None:
    (finding,) = [it for it in _cassandra(clock=clock) if it.what == "clock"]
    assert finding.state is state


def test_reads_that_fail_though_the_tables_are_right_are_a_cross() -> None:
    assert _the_one(_cassandra(refused="Unavailable: …"), State.WRONG).what == "reads at LOCAL_QUORUM"


def test_a_missing_keyspace_is_a_cross() -> None:
    found = _not_ok(_cassandra(keyspace=None))
    assert found.pop("keyspace").state is State.WRONG
    assert {finding.state for finding in found.values()} == {State.NOT_LOOKED_AT}


# Redis


@pytest.mark.parametrize("leaf_nodes", [False, None])
def test_a_database_without_leaf_nodes_is_warned_of(leaf_nodes: bool | None) -> None:
    seen = RelationsSeen(keys=0, leaf_nodes=leaf_nodes)
    finding = _the_one(judge_relations(SETTINGS, seen), State.WARNING)
    assert "REDIS_DATABASE_RELATIONCACHE_ID" in finding.next_step


@pytest.mark.parametrize(("keys", "told"), [(None, "database 10"), (7, "database 10: 7 keys")])
def test_keys_that_may_not_be_listed_are_not_looked_at(keys: int | None, told: str) -> None:
    seen = RelationsSeen(keys=keys, leaf_nodes=None, unlisted="NoPermissionError: no permissions to run 'scan'")
    answers, *_ = found = judge_relations(SETTINGS, seen)
    assert answers.state is State.OK
    assert answers.detail.endswith(told)
    finding = _the_one(found, State.NOT_LOOKED_AT)
    assert finding.what == "leaf nodes"
    assert "+scan" in finding.detail


def test_scripts_must_run() -> None:
    seen = RelationsSeen(keys=1, leaf_nodes=True, refused="NoPermissionError: EVALSHA")
    assert _the_one(judge_relations(SETTINGS, seen), State.WRONG).what == "scripts"
    found = _not_ok(judge_ledger(SETTINGS, replace(LEDGER, refused="NOPERM")))
    assert found["scripts"].state is State.WRONG
    assert found["final failures"].state is State.NOT_LOOKED_AT


@pytest.mark.parametrize(
    ("changes", "what", "state"),
    [
        ({"policy": "allkeys-lru"}, "eviction", State.WRONG),
        ({"role": "slave"}, "role", State.WRONG),
        ({"is_append_only": False}, "append-only file", State.WARNING),
        ({"appendfsync": "no"}, "append-only file", State.WARNING),
        ({"is_append_failing": True}, "append-only file", State.WRONG),
        ({"used_bytes": 80 * 2**20}, "memory", State.WARNING),
        ({"version": "5.0.7"}, "answers", State.WARNING),
    ],
)
def test_the_ledger_s_redis_must_keep_what_it_is_given(changes: dict[str, Any], what: str, state: State) -> None:
    seen = replace(LEDGER, server=replace(SERVER, **changes))
    assert _the_one(judge_ledger(SETTINGS, seen), state).what == what


def test_what_a_rented_redis_does_not_tell_is_no_cross() -> None:
    server = replace(SERVER, policy="", appendfsync="", most_bytes=0)
    assert _not_ok(judge_ledger(SETTINGS, replace(LEDGER, server=server))) == {}


def test_a_full_ledger_is_warned_of_and_stopped_consumption_is_a_cross() -> None:
    full = _the_one(judge_ledger(SETTINGS, replace(LEDGER, counted=10_000)), State.WARNING)
    assert full.what == "open requests"
    held = _the_one(judge_ledger(SETTINGS, replace(LEDGER, held_ms=59_000)), State.WRONG)
    assert "enrolment-reconciliation resume" in held.next_step


# settings, search service, and all together


def test_passwords_are_in_no_address_and_in_no_text() -> None:
    settings = load_settings({"CELERY_BROKER_URL": "amqp://me:p%40ss@h//", "LEDGER_REDIS_URL": "redis://:s3cret@h:1/0"})
    secrets = secrets_of((settings.celery_broker_url, settings.ledger_redis_url))
    findings = [
        *judge_broker(settings, BrokerSeen(trouble="refused for me:p@ss and me:p%40ss")),
        *judge_ledger(settings, LedgerSeen(trouble="refused s3cret")),
    ]
    assert secrets == {"p%40ss", "p@ss", "s3cret"}
    told = repr(without(secrets, findings))
    assert all(secret not in told for secret in secrets)
    assert "***" in told


def test_on_a_terminal_what_to_do_stands_under_what_was_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    out = Console(file=io.StringIO(), force_terminal=True, color_system=None, width=110)
    monkeypatch.setattr(check, "console", lambda: out)
    check._show(judge_ledger(SETTINGS, replace(LEDGER, held_ms=59_000)))
    assert isinstance(out.file, io.StringIO)
    shown = out.file.getvalue()
    assert "next step" not in shown
    assert "→ read why in the workers' log" in shown
    assert shown.count("✗ wrong") == 1
    assert "7 ok, 1 wrong: not all is in order" in shown


def test_doubtful_settings_are_warned_of() -> None:
    settings: Settings = load_settings({"ENV": "prod", "JOB_ENV": "dev"})
    findings = judge_settings(settings, "/etc/job.conf")
    assert "ENV in the environment is used" in _the_one(findings, State.WARNING).detail
    assert "/etc/job.conf" in findings[0].detail
    assert "no CONFIG_FILE" in judge_settings(settings, "")[0].detail


def test_no_search_service_is_a_note() -> None:
    (finding,) = look_at_search(SETTINGS, 1)
    assert finding.state is State.NOT_LOOKED_AT
    assert "RELATIONS_MISSING" in finding.detail


def test_one_look_that_hangs_or_breaks_hides_no_other() -> None:
    ends = threading.Event()
    well = Finding("b", "answers", State.OK, "here")

    def hang() -> list[Finding]:
        ends.wait(60)
        return []

    def fail() -> list[Finding]:
        raise ZeroDivisionError("not foreseen")

    try:
        found = side_by_side({"a": hang, "b": lambda: [well], "c": fail}, 0.5)
    finally:
        ends.set()
    assert [(finding.server, finding.state) for finding in found] == [
        ("a", State.WRONG),
        ("b", State.OK),
        ("c", State.WRONG),
    ]
    assert "0.5 s" in found[0].detail
    assert "not foreseen" in found[2].detail
