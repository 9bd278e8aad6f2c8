"""All that is read and written, and a whole flow, where Cassandra takes the newest version of its protocol alone."""

import json
from collections.abc import Callable

import pytest
from cassandra.cluster import Cluster, NoHostAvailable

from devstack.ports import HOST, Ports
from reconciliation.enrolment_store import EnrolmentStore
from reconciliation.logs import is_news
from tests.contract.test_store_reads import *  # noqa: F403 - whatever is tested there
from tests.contract.test_store_writes import *  # noqa: F403 - as above
from tests.integration.conftest import MakeInstallation
from tests.support.checks import check_announced_once
from tests.support.installation import new_learner
from tests.support.relations import course_of_units


def test_the_server_refuses_older_versions(ports: Ports) -> None:
    older = Cluster([HOST], port=ports.cassandra, protocol_version=4)
    with pytest.raises(NoHostAvailable, match="Rejecting Protocol Version"):
        older.connect()


def test_the_driver_connects_without_warnings(  # type: ignore[no-redef]  # in place of the one that came
    connect: Callable[..., EnrolmentStore], caplog: pytest.LogCaptureFixture
) -> None:
    """In place of the test of this name that came with the others: nothing of the refusal is told."""
    connect()

    assert "Rejecting Protocol Version" in caplog.text
    assert [record.message for record in caplog.records if record.levelname != "INFO" and is_news(record)] == []


def test_a_learner_is_completed_and_check_finds_nothing_wrong(make_installation: MakeInstallation) -> None:
    with make_installation() as installation:
        installation.start()
        learner = new_learner()
        installation.relations.fill(course_of_units(learner.course, {"unit": {"a"}}))
        installation.tables.add_consumption({learner: {"a": 2}})
        installation.tables.add_enrolments([learner])

        installation.sync(learner)

        row = installation.tables.enrolment(learner)
        assert row is not None
        assert row["status"] == 2
        check_announced_once(installation, learner)
        told = json.loads(installation.run_command("check", "--json").stdout)
        assert [it for it in told["checks"] if it["server"] == "Cassandra" and it["state"] == "wrong"] == []
