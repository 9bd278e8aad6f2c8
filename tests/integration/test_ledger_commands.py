"""The operators' commands on the ledger: what they print, in tables and as JSON, and how they end."""

import json
import socket
from collections.abc import Iterator

import pytest

from devstack.ports import HOST, free_port
from tests.faults.broker import queue_of
from tests.integration.conftest import MakeInstallation
from tests.support.events import encoded, sync_event
from tests.support.installation import Installation, new_learner, unique
from tests.support.kafka import limit_retention
from tests.support.tables import Learner
from tests.support.waiting import wait_until

AWAY = f"{HOST}:{free_port()}"


@pytest.fixture
def installation(make_installation: MakeInstallation) -> Iterator[Installation]:
    """A bridge alone: what it accepts stays open, and is not sent a second time."""
    with make_installation({"LEDGER_SWEEP_AFTER": "600"}) as made:
        made.bridge.start()
        yield made


@pytest.fixture(scope="module")
def idle(make_installation: MakeInstallation) -> Iterator[Installation]:
    """An installation of which nothing runs."""
    with make_installation() as made:
        yield made


def _accept(installation: Installation, *learners: Learner) -> None:
    before = installation.open_count()
    installation.send(*learners)
    wait_until("all are accepted", lambda: installation.open_count() == before + len(learners))


def test_pending_lists_the_oldest_and_filters(installation: Installation) -> None:
    first, second, third = new_learner(), new_learner(), new_learner()
    _accept(installation, first)
    _accept(installation, second)
    _accept(installation, third, first)
    said = installation.operate("pending")
    assert "4 requests are open; 4 match, in 3 entries" in said
    places = [said.index(learner.user) for learner in (first, second, third)]
    assert places == sorted(places)
    assert "for its first attempt" in said

    listed = installation.operate("pending", "--limit", "1", "--no-ids")
    assert first.course in listed
    assert second.course not in listed
    assert first.user not in listed
    assert "2 younger ones are not listed" in listed

    for option, value in (("--user", second.user), ("--course", second.course), ("--batch", second.batch)):
        told = json.loads(installation.operate("pending", option, value, "--json"))
        assert (told["open_requests"], told["matching"]) == (4, {"entries": 1, "requests": 1})
        ((entry,), by_state) = told["entries"], told["by_state"]
        assert (entry["user"], entry["course"], entry["batch"]) == (second.user, second.course, second.batch)
        assert (entry["state"], entry["attempts"], entry["collapsed"]) == ("waiting", 0, 0)
        assert (by_state["waiting"], by_state["running"]) == (1, 0)
    assert json.loads(installation.operate("pending", "--state", "running", "--json"))["matching"]["entries"] == 0
    assert json.loads(installation.operate("pending", "--reason", "nothing like it", "--json"))["entries"] == []
    told = json.loads(installation.operate("pending", "--json", "--no-ids"))
    assert [entry["collapsed"] for entry in told["entries"]] == [1, 0, 0]
    assert told["oldest_accepted_ms"] == told["entries"][0]["accepted_ms"]
    assert not any("user" in entry for entry in told["entries"])
    assert "0 requests are open" not in said


def test_an_empty_ledger_is_told_of(make_installation: MakeInstallation) -> None:
    with make_installation() as installation:
        assert "0 requests are open; 0 match, in 0 entries" in installation.operate("pending")
        assert installation.operate("pause", "--list") == "nothing is paused\n"
        assert "nothing to do" in installation.operate("resume")
        assert "nothing to do" in installation.operate("resume", "--batch", "b")


def test_pauses_are_listed_and_end_one_by_one(make_installation: MakeInstallation) -> None:
    with make_installation() as installation:
        course, batch = "do_1\x1b[2J", "b:1"
        said = installation.operate("pause", "--course", course, "--batch", batch, "--reason", "set anew")
        assert "course do_1\\x1b[2J is paused since" in said
        assert "batch b:1" in said
        installation.operate("pause", "--all")
        listed = installation.operate("pause", "--list")
        assert "set anew" in listed
        assert "everything" in listed
        assert "\x1b" not in listed
        assert "is paused since" in installation.operate("pending")

        said = installation.operate("resume")
        assert "ended: everything is paused since" in said
        assert "resumed" in said
        assert "stays paused: course do_1\\x1b[2J" in said
        told = json.loads(installation.operate("pause", "--list", "--json"))
        assert {pause["scope"] for pause in told} == {f"course:{course}", "batch:b:1"}
        told = json.loads(installation.operate("resume", "--course", course, "--json"))
        assert (told["ended"], [it["scope"] for it in told["still_paused"]]) == ([f"course:{course}"], ["batch:b:1"])
        assert "ended: batch b:1" in installation.operate("resume", "--all")
        assert installation.operate("pause", "--list") == "nothing is paused\n"


@pytest.mark.parametrize(
    "arguments",
    [
        ["pause"],
        ["pause", "--list", "--all"],
        ["pause", "--course", " "],
        ["pause", "--all", "--reason", "x" * 201],
        ["forget"],
        ["forget", "--user", ""],
        ["forget", "--user", "u", "--json"],
        ["drain", "--timeout", "-1"],
        ["pending", "--state", "unheard of"],
    ],
)
def test_wrong_use_changes_nothing(idle: Installation, arguments: list[str]) -> None:
    ended = idle.run_command(*arguments)
    assert ended.returncode == 2
    assert "Traceback" not in ended.stderr
    assert idle.operate("pause", "--list") == "nothing is paused\n"


def test_a_learner_is_forgotten_only_when_it_is_confirmed(installation: Installation) -> None:
    learner = Learner('u"ser\x1b[2J\n*', unique("do"), unique("batch"))
    other = Learner(learner.user + "x", learner.course, learner.batch)
    _accept(installation, learner, learner, other)
    said = installation.operate("forget", "--user", learner.user, "--dry-run")
    assert "2 open requests of this learner, in 1 entries" in said
    assert installation.open_count() == 3
    refused = installation.run_command("forget", "--user", learner.user)
    assert refused.returncode == 1
    assert installation.open_count() == 3

    told = json.loads(installation.operate("forget", "--user", learner.user, "--yes", "--json"))
    assert (told["ended_requests"], told["attempts_ran"], told["done"]) == (2, False, True)
    assert installation.open_count() == 1
    assert json.loads(installation.operate("pending", "--json"))["entries"][0]["user"] == other.user
    # nothing that lies in Redis names the learner
    own = json.dumps([learner.user, learner.course, learner.batch], ensure_ascii=False, separators=(",", ":"))
    for name in ("waiting", "running"):
        assert own.encode() not in installation.redis.hkeys(installation._ledger_prefix + name)
    again = json.loads(installation.operate("forget", "--user", learner.user, "--yes", "--json"))
    assert (again["found"], again["ended_requests"], again["done"]) == ([], 0, True)
    installation.operate("forget", "--user", other.user, "--yes")
    assert installation.leftovers() == []


def test_forget_says_what_remains_elsewhere_and_for_how_long(installation: Installation) -> None:
    limit_retention(installation.ports.bootstrap, installation.audit_topic, 3_600_000)
    limit_retention(installation.ports.bootstrap, installation.failed_topic, -1)
    said = installation.operate("forget", "--user", "nobody", "--yes")
    assert "holds no open request of this learner" in said
    lines = {line.split("│")[1].strip(): line for line in said.splitlines() if line.startswith("│")}
    assert "1 h (retention.ms)" in lines[f"topic {installation.audit_topic}"]
    assert "for ever" in lines[f"topic {installation.failed_topic}"]
    assert "7 d (retention.ms)" in lines[f"topic {installation.input_topic}"]
    assert f"topic {installation.certificate_topic}" in lines
    assert "user_enrolments" in lines["Cassandra"]
    assert "2 d (ledger.paid.memory)" in lines["ledger, paid:"]
    assert "files of bulk runs" in lines

    ended = installation.run_command("forget", "--user", "u", "--yes", settings={"KAFKA_BROKER_SERVERS": AWAY})
    assert ended.returncode == 0
    assert ended.stdout.count("not known: ") == 4


def test_forget_takes_a_learner_out_of_the_records_of_bulk_runs(installation: Installation) -> None:
    user = new_learner().user
    begun = installation.run_command("bulk", "--user", user, "--stuck", "--apply", "--yes", "--json")
    assert begun.returncode == 0, begun.stderr
    run = json.loads(begun.stdout)["run"]
    assert user in installation.operate("bulk", "status", run)
    assert json.loads(installation.operate("forget", "--user", user, "--dry-run", "--json"))["bulk_runs"] == [run]
    assert run in installation.operate("forget", "--user", user, "--yes")
    assert run not in installation.operate("bulk", "status")
    assert json.loads(installation.operate("forget", "--user", user, "--yes", "--json"))["bulk_runs"] == []


def test_a_server_that_is_away_ends_a_command_with_one_line(make_installation: MakeInstallation) -> None:
    with make_installation() as installation:
        away = {"LEDGER_REDIS_URL": f"redis://{AWAY}/0", "REDIS_TIMEOUT": "1"}
        for arguments in (["pending"], ["pause", "--all"], ["resume"], ["forget", "--user", "u"], ["drain"]):
            ended = installation.run_command(*arguments, settings=away)
            assert ended.returncode == 3
            assert ended.stderr.startswith("error: the ledger's Redis")
            assert ended.stderr.count("\n") == 1
        broker = {
            "CELERY_BROKER_URL": f"redis://{AWAY}/0",
            "LEDGER_REDIS_URL": installation.settings["CELERY_BROKER_URL"],
        }
        ended = installation.run_command("drain", settings=broker)
        assert ended.returncode == 3
        assert "celery.broker.url" in ended.stderr
        with socket.create_server((HOST, 0)) as silent:
            broker["CELERY_BROKER_URL"] = f"amqp://{HOST}:{silent.getsockname()[1]}//"
            ended = installation.run_command("drain", settings={**broker, "REDIS_TIMEOUT": "1"})
        assert ended.returncode == 3
        assert "celery.broker.url" in ended.stderr
        assert installation.operate("pause", "--list") == "nothing is paused\n"


def test_a_drain_does_not_begin_while_everything_is_paused(make_installation: MakeInstallation) -> None:
    with make_installation() as installation:
        installation.operate("pause", "--all")
        ended = installation.run_command("drain")
        assert ended.returncode == 1
        assert "first `enrolment-reconciliation resume`" in ended.stderr
        installation.operate("resume")
        assert json.loads(installation.operate("drain", "--json"))["drained"] is True
        assert "acceptance, for a drain" in installation.operate("pause", "--list")
        installation.operate("resume")


def test_a_message_that_lies_on_the_queue_is_waited_for(installation: Installation) -> None:
    learner = new_learner()
    installation.send_records([(learner.user.encode(), encoded(sync_event(learner)))])
    wait_until("it is accepted and sent", lambda: installation.open_count() == 1 and _messages(installation) == 1)
    installation.operate("forget", "--user", learner.user, "--yes")
    ended = installation.run_command("drain", "--timeout", "1")
    assert ended.returncode == 1
    assert "0 open, 1 messages on the queue" in ended.stderr
    installation.worker.start()
    assert "0 open, queue empty" in installation.operate("drain", "--timeout", "50")
    installation.operate("resume")


def _messages(installation: Installation) -> int:
    return len(queue_of(installation))
