"""Ids that somebody made up to do harm: they reach rows and events as they are, and nothing else (docs/security.md)."""

import json
import re
import urllib.parse
import urllib.request
from collections.abc import Iterator

import pytest

from devstack.ports import HOST, free_port
from tests.integration.conftest import MakeInstallation
from tests.support.checks import check_announced_once, check_silent, progress_of
from tests.support.events import encoded, sync_event
from tests.support.installation import Installation, new_learner, unique
from tests.support.processes import CELERY, Process
from tests.support.relations import course_of_units
from tests.support.tables import Learner
from tests.support.waiting import wait_until

#: Stands in every hostile id, so that what carries one is found.
MARK = "mark4711"

HOSTILE = {
    "CQL": f"{MARK}'; DROP TABLE user_enrolments; -- \" $$ /* ",
    "CQL's escapes": f"{MARK}\\'' OR userid > '' ALLOW FILTERING; BEGIN BATCH",
    "a forged record": f"{MARK}\n2026-01-01T00:00:00.000000Z [error    ] forged\r\n\x1b[2J\x1b]0;title\x07\u202e\u2028",
    "a page": f"{MARK}<script>alert(1)</script><img src=x onerror=alert(1)>&amp;",
    "other keys": f"{MARK}:other:leafnodes",
    "a template": f"{MARK}{{{{env}}}}${{jndi:ldap://x}}%s%n{{0}}",
    "nothing to see": f"{MARK}\x00\x01\x7f\u200b\ufeff",
    "as long as may be": MARK + "x" * 900,
}

# How a record of ours begins on the console.
_RECORD = re.compile(r"20\d\d-\d\d-\d\dT[\d:.]+Z \[")


def learner_of(text: str) -> Learner:
    return Learner(f"user {text} {unique('')}", f"course {text} {unique('')}", f"batch {text}")


@pytest.fixture(scope="module")
def installation(make_installation: MakeInstallation) -> Iterator[Installation]:
    with make_installation({"RETRY_ATTEMPTS": "1", "LOG_LEVEL": "debug"}) as made:
        yield made.start()


def check_logs(installation: Installation) -> int:
    """See that no line of a log is made by an id, and that nothing in one would steer a terminal.

    Gives how many lines told of a hostile id.
    """
    told = 0
    for process in installation.processes:
        for line in process.log.read_text(encoding="utf-8").split("\n"):
            assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f\u202e\u2028]", line), repr(line)
            if MARK in line or "forged" in line:
                told += 1
                assert _RECORD.match(line) or line.startswith("    "), repr(line)
                assert not line.startswith("2026-01-01"), repr(line)
    return told


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_a_hostile_id_is_a_value_everywhere(installation: Installation, text: str) -> None:
    learner, neighbour = learner_of(text), new_learner()
    installation.relations.fill(course_of_units(learner.course, {f"unit {text}": {f"content {text}"}}))
    installation.relations.fill(course_of_units(neighbour.course, {"unit": {"a", "b"}}))
    installation.tables.add_consumption({learner: {f"content {text}": 2}, neighbour: {"a": 2}})
    installation.tables.add_enrolments([learner, neighbour])

    installation.sync(learner, neighbour)

    assert progress_of(installation, learner) == (2, 1, {f"content {text}": 2})
    check_announced_once(installation, learner)
    # the tables are there and the next learner's row is what it should be
    assert progress_of(installation, neighbour) == (1, 1, {"a": 2})
    check_silent(installation, neighbour)
    check_logs(installation)


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_a_hostile_id_in_a_failure_is_carried_and_forges_nothing(installation: Installation, text: str) -> None:
    learner = learner_of(text)
    installation.tables.add_consumption({learner: {"a": 2}})
    installation.tables.add_enrolments([learner])

    installation.sync(learner)

    (failed,) = installation.failures(learner)
    assert failed["failInfo"]["errorCode"] == "RELATIONS_MISSING"
    assert failed["edata"]["courseId"] == learner.course
    assert installation.announced(learner).certificates == []
    assert check_logs(installation) > 0


LABELS = {"stage", "outcome", "reason", "spends", "kind", "version", "part", "le"}


def test_no_id_is_a_label_of_a_metric(installation: Installation) -> None:
    learner = learner_of(HOSTILE["a page"])
    installation.sync(learner)
    for port in installation.metrics_ports.values():
        with urllib.request.urlopen(f"http://{HOST}:{port}/metrics", timeout=10) as answer:
            text = answer.read().decode()
        assert "enrolment_reconciliation_" in text
        assert MARK not in text
        labelled = re.findall(r"^enrolment_reconciliation_\w*\{(.*)\} ", text, re.MULTILINE)
        assert {name for labels in labelled for name in re.findall(r'(\w+)="', labels)} <= LABELS
        # each of these has a fixed few values, a release's name among them
        assert not any(part in text for part in learner.ids)


def test_no_learner_s_id_stands_in_a_message_and_a_course_s_id_is_harmless_there(
    make_installation: MakeInstallation,
) -> None:
    learner = Learner(unique("secret-learner"), HOSTILE["a page"] + HOSTILE["a forged record"], "b")
    with make_installation() as made:
        made.bridge.start()
        made.send(learner)
        made.wait_accepted()
        (message,) = made.redis.lrange(f"{made.group_id}:celery:{made.group_id}", 0, -1)
        assert b"secret-learner" not in message
        shown = json.loads(message)["headers"]["argsrepr"]
        assert MARK in shown
        assert shown.isprintable()
        assert len(shown) < 100


def test_flower_shows_a_hostile_course_as_text_and_no_learner(
    make_installation: MakeInstallation, tmp_path_factory: pytest.TempPathFactory
) -> None:
    learner = Learner(unique("user"), "</span><script>alert(4711)</script>", "b")
    settled = {"RETRY_BACKOFF_FIRST": "600", "RETRY_BACKOFF_MOST": "600", "LEDGER_SWEEP_AFTER": "600"}
    with make_installation(settled) as made:
        port = free_port(made.metrics_ports.values())
        command = (*CELERY, "flower", f"--address={HOST}", f"--port={port}")
        settings = {**made.settings, "FLOWER_UNAUTHENTICATED_API": "true"}
        flower = Process("flower", command, settings, tmp_path_factory.mktemp("flower") / "flower.log")
        flower.start()
        try:
            wait_until("Flower is up", lambda: _page(port, "/healthcheck") is not None, 120)
            made.start()
            made.tables.add_consumption({learner: {"a": 2}})
            made.send(learner)
            wait_until("Flower knows the task", lambda: "RELATIONS_MISSING" in (_page(port, "/api/tasks") or ""), 120)
            (task,) = json.loads(_page(port, "/api/tasks") or "")
            page = _page(port, f"/task/{task}") or ""
        finally:
            flower.end()
    assert learner.user not in page
    assert all(learner.user not in process.log.read_text() for process in (*made.processes, flower))
    assert "<script>alert(4711)" not in page
    # in the arguments, and in the reason for which it is tried again
    assert page.count("&lt;script&gt;alert(4711)") >= 2


def _page(port: int, path: str) -> str | None:
    try:
        with urllib.request.urlopen(f"http://{HOST}:{port}{urllib.parse.quote(path)}", timeout=10) as answer:
            return str(answer.read().decode())
    except OSError:
        return None


@pytest.mark.parametrize("name", ["userId", "courseId", "batchId"])
def test_an_id_that_is_too_long_is_told_at_once_and_in_few_words(installation: Installation, name: str) -> None:
    learner = new_learner()
    event = sync_event(learner, **{name: "x" * 70_000})

    installation.send_records([(b"key", encoded(event))])
    installation.wait_settled()

    failed = installation.failed.records()[-1].event
    assert failed["edata"][name] == "x" * 70_000
    assert failed["failInfo"]["errorCode"] == "INVALID_REQUEST"
    assert failed["failInfo"]["error"] == f"edata.{name} takes 70000 bytes; 1024 are allowed"
    assert failed["failInfo"]["attempts"] == 1
