"""`enrolment-reconciliation check` against real servers in real trouble."""

import json
from collections.abc import Iterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import redis
from confluent_kafka import Consumer

from commands.checking.redis_seen import BROKER
from devstack.cassandra import session
from devstack.ports import HOST, Ports, free_port
from devstack.redis import RedisServer
from devstack.schema import AggregateLayout, create_keyspace, drop_keyspace
from devstack.server import Place
from devstack.stack import Stack
from devstack.topics import create_topics, topic_names
from tests.integration.conftest import MakeInstallation
from tests.support.installation import Ended, Installation, new_learner, unique
from tests.support.kafka import all_topics, configure_topic
from tests.support.relations import course_of_units
from tests.support.search import SearchService
from tests.support.waiting import wait_until

Rows = dict[tuple[str, str], dict[str, str]]

#: A user_activity_agg as no installation has it: another key, and numbers of another kind.
OTHER_AGGREGATES = """
CREATE TABLE {}.user_activity_agg (activity_type text, activity_id text, user_id text, context_id text,
  aggregates map<text, int>, agg_last_updated map<text, timestamp>,
  PRIMARY KEY (user_id, activity_type, activity_id, context_id))
"""

#: How long one answer is waited for, in seconds; long enough for a machine at work.
LIMIT = "20"


@pytest.fixture(scope="module")
def idle(make_installation: MakeInstallation) -> Iterator[Installation]:
    """An installation none of whose processes runs."""
    with make_installation() as made:
        course = new_learner().course
        made.relations.fill(course_of_units(course, {"unit": {"a"}}))
        yield made


@pytest.fixture
def own_redis(tmp_path: Path) -> Iterator[RedisServer]:
    """A Redis that nobody else uses."""
    port = free_port()
    server = RedisServer(Place(tmp_path, tmp_path, Ports(redis=port)))
    server.start()
    try:
        yield server
    finally:
        server.end()


def run(installation: Installation, settings: Mapping[str, str] | None = None, limit: str = LIMIT) -> Ended:
    ended = installation.run_command("check", "--json", "--limit", limit, settings=settings)
    assert ended.stderr == ""
    return ended


def rows_of(ended: Ended) -> Rows:
    document: dict[str, Any] = json.loads(ended.stdout)
    rows = {(row["server"], row["what"]): row for row in document["checks"]}
    assert len(rows) == len(document["checks"])
    assert document["in_order"] == (ended.returncode == 0)
    assert all(row["next_step"] for row in rows.values() if row["state"] in ("warning", "wrong"))
    return rows


def crosses(installation: Installation, settings: Mapping[str, str] | None = None, limit: str = LIMIT) -> Rows:
    """Check, and give the rows with a cross; the exit code must agree."""
    ended = run(installation, settings, limit)
    found = {place: row for place, row in rows_of(ended).items() if row["state"] == "wrong"}
    assert ended.returncode == (1 if found else 0)
    return found


def warnings(installation: Installation, settings: Mapping[str, str] | None = None) -> Rows:
    return {place: row for place, row in rows_of(run(installation, settings)).items() if row["state"] == "warning"}


def test_an_installation_at_work_is_all_in_order(make_installation: MakeInstallation, search: SearchService) -> None:
    with make_installation({"SERVICE_SEARCH_BASEPATH": search.base_path}) as installation:
        learner = new_learner()
        installation.relations.fill(course_of_units(learner.course, {"unit": {"a"}}))
        installation.tables.add_consumption({learner: {"a": 2}})
        installation.start().sync(learner)
        ended = run(installation)
        assert ended.returncode == 0
        rows = rows_of(ended)
        assert {row["state"] for row in rows.values()} == {"ok"}
        group = rows["Kafka", "consumer group"]["detail"]
        assert f"{installation.group_id}: Stable, " in group
        assert "committed, lag 0 in all; 1 member: rdkafka at 127.0.0.1" in group
        assert rows["Kafka", f"topic {installation.input_topic}"]["detail"].startswith("2 partitions, replication")
        assert search.asked_about("enrolment-reconciliation-probe") == 1
        printed = installation.run_command("check")
        assert printed.returncode == 0
        assert "✗" not in printed.stdout
        assert printed.stdout.count("✓ ok") == len(rows)
        assert "all is in order" in printed.stdout


def test_what_waits_on_celery_s_queue_is_counted(idle: Installation) -> None:
    queue = f"{idle.group_id}:celery:{idle.group_id}"
    idle.redis.rpush(queue, "{}", "{}", "{}")
    try:
        assert rows_of(run(idle))[BROKER, "queue"]["detail"] == f"{idle.group_id}: 3 messages wait"
    finally:
        idle.redis.delete(queue)


def keys_of_redis(ports: Ports) -> dict[tuple[int, bytes], bool]:
    """Give every key of the ledger's database and of the relation sets', and whether it goes by itself."""
    found = {}
    for number in (0, 10):
        client: Any = redis.Redis(port=ports.redis, db=number, socket_timeout=20)
        with closing(client), client.pipeline(transaction=False) as together:
            keys = list(client.scan_iter(count=1000))
            for key in keys:
                together.ttl(key)
            # -2 where it went since
            found.update({(number, key): left != -1 for key, left in zip(keys, together.execute(), strict=True)})
    return found


def test_nothing_is_written_and_no_group_is_joined(idle: Installation, ports: Ports) -> None:
    missing = unique("no-topic")
    before = keys_of_redis(ports)
    topics = all_topics(ports.bootstrap)
    rows = rows_of(run(idle, {"KAFKA_AUDIT_TOPIC": missing}))
    assert "not known to Kafka" in rows["Kafka", "consumer group"]["detail"]
    assert "no member" in rows_of(run(idle))["Kafka", "consumer group"]["detail"]
    after = keys_of_redis(ports)
    assert after.keys() <= before.keys()
    # of other tests' keys that last for a while some may have had their time
    assert {key for key in before.keys() - after.keys() if not before[key]} == set()
    assert all_topics(ports.bootstrap) == topics
    assert not [row for row in idle.tables.all_enrolments() if row.user.startswith("enrolment-reconciliation")]


def test_a_missing_topic_and_a_short_retention(idle: Installation, ports: Ports) -> None:
    missing = unique("no-topic")
    found = crosses(idle, {"KAFKA_AUDIT_TOPIC": missing})
    assert set(found) == {("Kafka", f"topic {missing}")}
    assert "kafka.audit.topic (KAFKA_AUDIT_TOPIC)" in found["Kafka", f"topic {missing}"]["next_step"]

    configure_topic(ports.bootstrap, idle.failed_topic, **{"retention.ms": str(24 * 3_600_000)})
    assert warnings(idle)["Kafka", "failed topic's retention"]["detail"] == "kept for 24 hours"
    configure_topic(ports.bootstrap, idle.failed_topic, **{"retention.ms": str(10 * 24 * 3_600_000)})
    assert ("Kafka", "failed topic's retention") not in warnings(idle)


def test_a_member_of_the_group_that_reads_something_else(idle: Installation, ports: Ports) -> None:
    stranger = Consumer({"bootstrap.servers": ports.bootstrap, "group.id": idle.group_id, "client.id": "stranger"})
    stranger.subscribe([idle.audit_topic])
    try:
        wait_until("its partitions", lambda: stranger.poll(0.1) is not None or stranger.assignment())
        row = warnings(idle)["Kafka", "consumer group"]
        assert "stranger at 127.0.0.1" in row["detail"]
        assert idle.audit_topic in row["detail"]
        assert "KAFKA_GROUPID" in row["next_step"]
    finally:
        stranger.close()


def test_tables_that_are_not_as_they_must_be(idle: Installation, ports: Ports) -> None:
    keyspace = f"check_{unique('k').replace('-', '_')}"
    create_keyspace(HOST, ports.cassandra, keyspace)
    settings = {"LMS_CASSANDRA_KEYSPACE": keyspace}
    try:
        assert crosses(idle, settings) == {}
        with session(HOST, ports.cassandra) as connected:
            for statement in (
                "DROP TABLE {}.user_content_consumption",
                "ALTER TABLE {}.user_enrolments DROP datetime",
                "DROP TABLE {}.user_activity_agg",
                OTHER_AGGREGATES,
            ):
                connected.execute(statement.format(keyspace))
        found = {what: row for (server, what), row in crosses(idle, settings).items() if server == "Cassandra"}
        assert set(found) == {
            "table user_content_consumption",
            "column user_enrolments.datetime",
            "table user_activity_agg",
            "column user_activity_agg.aggregates",
        }
        assert found["column user_activity_agg.aggregates"]["detail"] == "is map<text, int>, must be map<text, double>"
        assert "((user_id), activity_type, activity_id, context_id)" in found["table user_activity_agg"]["detail"]
        assert "LMS_CASSANDRA_CONTENT_CONSUMPTION_TABLE" in found["table user_content_consumption"]["next_step"]
    finally:
        drop_keyspace(HOST, ports.cassandra, keyspace)
    assert set(crosses(idle, settings)) == {("Cassandra", "keyspace")}


def test_relation_sets_in_a_table(idle: Installation, hierarchy_store: str) -> None:
    settings = {
        "RELATIONS_SOURCES": "cassandra",
        "LMS_CASSANDRA_HIERARCHY_RELATIONS_KEYSPACE": hierarchy_store,
        "REDIS_PORT": "1",
        "LEDGER_REDIS_URL": idle.settings["CELERY_BROKER_URL"],
    }
    assert crosses(idle, settings) == {}
    no_table = {**settings, "LMS_CASSANDRA_HIERARCHY_RELATIONS_TABLE": "nothing"}
    assert set(crosses(idle, no_table)) == {("Cassandra", "table nothing")}
    no_keyspace = {**settings, "LMS_CASSANDRA_HIERARCHY_RELATIONS_KEYSPACE": "nowhere"}
    assert set(crosses(idle, no_keyspace)) == {("Cassandra", "keyspace of relation sets")}


def test_the_other_layout_of_the_aggregates_is_in_order(make_installation: MakeInstallation) -> None:
    with make_installation(layout=AggregateLayout.USER_IN_CLUSTERING) as other:
        assert crosses(other) == {}


def test_a_data_centre_that_is_not_there(idle: Installation) -> None:
    found = crosses(idle, {"LMS_CASSANDRA_LOCALDATACENTER": "nowhere"})
    assert set(found) == {("Cassandra", "data centre")}
    assert "there is datacenter1" in found["Cassandra", "data centre"]["next_step"]


NOWHERE = "nowhere.invalid"


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        (
            {
                "KAFKA_BROKER_SERVERS": f"{HOST}:1",
                "LMS_CASSANDRA_PORT": "1",
                "REDIS_PORT": "1",
                "CELERY_BROKER_URL": f"redis://:hidden-1@{HOST}:1/0",
                "LEDGER_REDIS_URL": f"redis://:hidden-2@{HOST}:1/0",
                "SERVICE_SEARCH_BASEPATH": f"http://{HOST}:1",
            },
            "nothing listens there",
        ),
        (
            {
                "KAFKA_BROKER_SERVERS": f"{NOWHERE}:9092",
                "LMS_CASSANDRA_HOST": NOWHERE,
                "REDIS_HOST": NOWHERE,
                "CELERY_BROKER_URL": f"amqp://hidden-3:hidden-1@{NOWHERE}//",
                "LEDGER_REDIS_URL": f"redis://:hidden-2@{NOWHERE}/0",
                "SERVICE_SEARCH_BASEPATH": f"http://{NOWHERE}",
            },
            "no such host",
        ),
    ],
    ids=["wrong ports", "unknown hosts"],
)
def test_a_server_that_is_not_there_is_one_row_and_no_password(
    idle: Installation, settings: dict[str, str], told: str
) -> None:
    ended = run(idle, settings, limit="3")
    found = {place: row for place, row in rows_of(ended).items() if row["state"] == "wrong"}
    assert set(found) == {
        ("Kafka", "a broker answers"),
        ("Cassandra", "a node answers"),
        ("relation cache", "answers"),
        ("Celery's broker", "answers"),
        ("ledger", "answers"),
        ("search service", "answers"),
    }
    for row in found.values():
        assert told in row["detail"], row
    named = {variable for variable in settings if any(f"({variable})" in row["next_step"] for row in found.values())}
    assert named == set(settings)
    assert "hidden" not in ended.stdout + idle.run_command("check", "--limit", "3", settings=settings).stdout


def test_what_answers_there_may_be_another_server(idle: Installation, ports: Ports) -> None:
    settings = {
        "KAFKA_BROKER_SERVERS": f"{HOST}:{ports.redis}",
        "LMS_CASSANDRA_PORT": str(ports.redis),
        "REDIS_PORT": str(ports.cassandra),
        # TLS to one that speaks none
        "CELERY_BROKER_URL": f"rediss://{HOST}:{ports.redis}/0",
        "LEDGER_REDIS_URL": f"redis://{HOST}:{ports.cassandra}/0",
    }
    found = crosses(idle, settings, limit="5")
    assert {server for server, _ in found} == {
        "Kafka",
        "Cassandra",
        "relation cache",
        "Celery's broker",
        "ledger",
    }
    assert "TLS is spoken on one side alone" in found["Celery's broker", "answers"]["detail"]
    assert "no such server answers there" in found["ledger", "answers"]["detail"]


@pytest.mark.parametrize("server", ["redis", "cassandra", "kafka"])
def test_a_server_that_hangs_holds_up_no_other(idle: Installation, stack: Stack, server: str) -> None:
    stack.server(server).stop()
    try:
        found = crosses(idle, limit="5")
    finally:
        stack.server(server).resume()
        wait_until("it answers again", stack.server(server).answers)
        # a broker that stood still for long leads its partitions a moment after it answers
        create_topics(idle.ports.bootstrap, topic_names(idle.environment))
    mute = {"redis": {"relation cache", "Celery's broker", "ledger"}, "cassandra": {"Cassandra"}, "kafka": {"Kafka"}}
    assert {name for name, _ in found} == mute[server]
    assert all("no answer in time" in row["detail"] for row in found.values()), found


def test_a_ledger_s_redis_that_may_lose_what_it_holds(idle: Installation, own_redis: RedisServer) -> None:
    settings = {"LEDGER_REDIS_URL": f"redis://{HOST}:{own_redis.port}/0"}
    client: Any = redis.Redis(port=own_redis.port, socket_timeout=20)
    assert crosses(idle, settings) == {}

    client.config_set("maxmemory-policy", "volatile-lru")
    client.config_set("appendonly", "no")
    client.config_set("maxmemory", client.info()["used_memory"] + 100_000)
    rows = rows_of(run(idle, settings))
    states = {what: row["state"] for (server, what), row in rows.items() if server == "ledger"}
    assert states["eviction"] == "wrong"
    assert states["append-only file"] == "warning"
    assert states["memory"] == "warning"

    client.config_set("maxmemory-policy", "noeviction")
    client.config_set("maxmemory", 0)
    client.config_set("appendonly", "yes")
    client.config_set("appendfsync", "no")
    rows = rows_of(run(idle, settings))
    assert rows["ledger", "append-only file"]["detail"] == "on, appendfsync no"
    assert rows["ledger", "append-only file"]["state"] == "warning"

    client.replicaof(HOST, 1)
    assert set(crosses(idle, settings)) == {("ledger", "role")}


def test_a_redis_that_wants_a_password_or_forbids_scripts(idle: Installation, own_redis: RedisServer) -> None:
    client: Any = redis.Redis(port=own_redis.port, socket_timeout=20)
    client.execute_command("ACL", "SETUSER", "default", "-evalsha")
    settings = {
        "REDIS_PORT": str(own_redis.port),
        "CELERY_BROKER_URL": f"redis://:wrong-word@{HOST}:{own_redis.port}/0",
    }
    found = crosses(idle, settings)
    assert {("relation cache", "scripts"), ("ledger", "scripts")} <= set(found)
    assert "EVALSHA" in found["relation cache", "scripts"]["next_step"]

    client.config_set("requirepass", "right-word")
    ended = run(idle, settings)
    found = {place: row for place, row in rows_of(ended).items() if row["state"] == "wrong"}
    assert set(found) == {("relation cache", "answers"), ("Celery's broker", "answers"), ("ledger", "answers")}
    assert {"the login is refused" in row["detail"] for row in found.values()} == {True}
    assert "CELERY_BROKER_URL" in found["Celery's broker", "answers"]["next_step"]
    assert "wrong-word" not in ended.stdout


def test_an_empty_or_missing_relation_database(idle: Installation) -> None:
    empty = warnings(idle, {"REDIS_DATABASE_RELATIONCACHE_ID": "13"})["relation cache", "leaf nodes"]
    assert "REDIS_DATABASE_RELATIONCACHE_ID" in empty["next_step"]
    assert ("relation cache", "leaf nodes") not in warnings(idle)
    found = crosses(idle, {"REDIS_DATABASE_RELATIONCACHE_ID": "99"})
    assert set(found) == {("relation cache", "answers")}
    assert "REDIS_DATABASE_RELATIONCACHE_ID" in found["relation cache", "answers"]["next_step"]


def test_consumption_that_final_failures_stopped(make_installation: MakeInstallation) -> None:
    with make_installation() as stopped:
        seconds, _ = stopped.redis.time()
        breaker = f"enrolment-reconciliation:{{{stopped.group_id}}}:breaker"
        stopped.redis.hset(breaker, mapping={"until": (seconds + 600) * 1000, "trips": 1})
        found = crosses(stopped)
        assert set(found) == {("ledger", "final failures")}
        assert "enrolment-reconciliation resume" in found["ledger", "final failures"]["next_step"]
        stopped.operate("resume")
        assert crosses(stopped) == {}


def test_a_search_service_that_is_ill_or_another_page(idle: Installation, search: SearchService) -> None:
    settings = {"SERVICE_SEARCH_BASEPATH": search.base_path}
    search.broken = True
    found = crosses(idle, settings)
    assert set(found) == {("search service", "answers")}
    assert "503" in found["search service", "answers"]["detail"]
    search.broken = False
    assert crosses(idle, settings) == {}
    row = rows_of(run(idle))["search service", "answers"]
    assert row["state"] == "not looked at"
    assert "RELATIONS_MISSING" in row["detail"]


def test_settings_that_are_wrong_or_doubtful(idle: Installation, tmp_path: Path) -> None:
    ended = idle.run_command("check", settings={"REDIS_PORT": "tcp://10.0.0.1:6379"})
    assert ended.returncode == 2
    assert ended.stdout == ""
    assert ended.stderr.startswith("error: redis.port (REDIS_PORT")
    assert ended.stderr.count("\n") == 1

    file = tmp_path / "job.conf"
    file.write_text('include "absent.conf"\naudit.channel = here\n')
    ended = idle.run_command("check", "--json", "--limit", LIMIT, settings={"CONFIG_FILE": str(file)})
    assert ended.returncode == 0
    rows = rows_of(ended)
    assert str(file) in rows["settings", "source"]["detail"]
    assert rows["settings", "values"]["state"] == "warning"
    assert idle.environment in rows["settings", "environment's name"]["detail"]
