"""A keyspace and topics made here are what production has."""

import pytest
from confluent_kafka.admin import AdminClient

from devstack.cassandra import session
from devstack.errors import DevstackError
from devstack.ports import HOST, Ports
from devstack.schema import create_keyspace
from devstack.topics import create_topics, topic_names

KEY_OF_AGGREGATES = {
    "keyspace": ({"activity_type", "activity_id", "user_id"}, {"context_id"}),
    "keyspace_other_layout": ({"activity_type", "activity_id"}, {"context_id", "user_id"}),
}


@pytest.mark.parametrize("fixture", sorted(KEY_OF_AGGREGATES))
def test_both_layouts_of_the_aggregates(fixture: str, ports: Ports, request: pytest.FixtureRequest) -> None:
    keyspace = request.getfixturevalue(fixture)
    with session(HOST, ports.cassandra) as connected:
        rows = connected.execute(
            "SELECT column_name, kind FROM system_schema.columns WHERE keyspace_name = %s AND table_name = %s",
            (keyspace, "user_activity_agg"),
        ).all()
    partition = {row.column_name for row in rows if row.kind == "partition_key"}
    clustering = {row.column_name for row in rows if row.kind == "clustering"}
    assert (partition, clustering) == KEY_OF_AGGREGATES[fixture]


def test_the_enrolments_are_indexed_as_in_production(ports: Ports, keyspace: str) -> None:
    with session(HOST, ports.cassandra) as connected:
        rows = connected.execute(
            "SELECT table_name, options FROM system_schema.indexes WHERE keyspace_name = %s", (keyspace,)
        ).all()
    assert sorted((row.table_name, row.options["target"]) for row in rows) == [
        ("user_enrolments", "status"),
        ("user_enrolments", "values(certificates)"),
    ]


def test_creating_again_keeps_the_rows(ports: Ports, keyspace: str) -> None:
    with session(HOST, ports.cassandra) as connected:
        connected.set_keyspace(keyspace)
        connected.execute("INSERT INTO user_enrolments (userid, courseid, batchid, status) VALUES ('u', 'c', 'b', 1)")
        create_keyspace(HOST, ports.cassandra, keyspace)
        assert connected.execute("SELECT status FROM user_enrolments").one().status == 1


def test_a_name_that_is_no_keyspace_is_refused(ports: Ports) -> None:
    with pytest.raises(DevstackError, match="keyspace's name"):
        create_keyspace(HOST, ports.cassandra, "No-Keyspace; DROP")


def test_an_environment_has_its_four_topics_and_no_others_appear(ports: Ports, environment: str) -> None:
    create_topics(ports.bootstrap, topic_names(environment))
    client = AdminClient({"bootstrap.servers": ports.bootstrap})
    topics = client.list_topics(timeout=10).topics
    assert {name: len(topics[name].partitions) for name in topics if name.startswith(f"{environment}.")} == {
        f"{environment}.batch.enrolment.sync.request": 2,
        f"{environment}.enrolment.reconciliation.failed": 2,
        f"{environment}.telemetry.raw": 2,
        f"{environment}.issue.certificate.request": 2,
    }
    client.list_topics(f"{environment}.misspelt", timeout=10)
    assert f"{environment}.misspelt" not in client.list_topics(timeout=10).topics
