"""Flower's pages as an operator sees them, in a real browser (docs/flower.md)."""

import re
from pathlib import Path

import pytest

from tests.browser.stage import USER, WORKER_NAME, Flower, Stage
from tests.support.waiting import wait_until

TASK_ROWS = "document.querySelectorAll('#tasks-table tbody tr[id]').length"
WORKERS_SHOWN = "document.querySelector('#workers-table .worker-name-link')"


def cells(stage: Stage, table: str) -> list[list[str]]:
    """Give the cells of a table's rows, as text."""
    # Flower shows a worker's name in two pieces
    texts = "[...row.cells].map(cell => cell.innerText.replaceAll('\\n', ''))"
    rows = stage.browser.evaluate(f"[...document.querySelectorAll('#{table} tbody tr')].map(row => {texts})")
    assert isinstance(rows, list)
    return rows


def open_tasks(stage: Stage) -> list[list[str]]:
    """Open the page of tasks; gives the cells of its rows."""
    stage.browser.open(f"{stage.flower.address}/tasks", f"{TASK_ROWS} === 5")
    return cells(stage, "tasks-table")


def test_tasks_are_listed_with_what_they_were_about_and_how_they_ended(stage: Stage) -> None:
    rows = {row[1]: row for row in open_tasks(stage)}

    assert {row[0] for row in rows.values()} == {"tasks.reconcile"}
    assert sorted(row[2] for row in rows.values()) == ["FAILURE", "RETRY", "REVOKED", "SUCCESS", "SUCCESS"]
    well, lost = stage.learners[:2], stage.learners[2:]
    assert [rows[stage.failed][3], rows[stage.revoked][3]] == [f"1 request ({learner.course})" for learner in lost]
    assert rows[stage.retried][3].startswith("2 requests (")
    done = {row[3] for row in rows.values() if row[2] == "SUCCESS"}
    assert done == {f"1 request ({learner.course})" for learner in well}
    assert {row[6] for row in rows.values()} == {WORKER_NAME}


def test_reasons_stand_in_the_list_and_in_the_detail(stage: Stage) -> None:
    rows = {row[1]: row for row in open_tasks(stage)}
    assert "1 of 1 given up, see the failed topic: RELATIONS_MISSING" in rows[stage.failed][7]
    assert re.match(r"RequestsGoOn\(['\"]2 of 2 to be tried again alone: RELATIONS_MISSING", rows[stage.retried][7])

    for task, state, reason in (
        (stage.failed, "FAILURE", "1 of 1 given up, see the failed topic: RELATIONS_MISSING"),
        (stage.retried, "RETRY", "2 of 2 to be tried again alone: RELATIONS_MISSING"),
        (stage.revoked, "REVOKED", "Revoked"),
    ):
        stage.browser.open(f"{stage.flower.address}/task/{task}", "document.querySelector('#task-page')")
        text = stage.browser.text()
        assert "tasks.reconcile" in text
        assert state in text
        assert reason in text


def test_what_was_revoked_in_the_browser_is_on_the_failed_topic(stage: Stage) -> None:
    (failed,) = stage.installation.failures(stage.learners[3])
    assert failed["failInfo"]["errorCode"] == "REVOKED"


def test_the_worker_is_online_with_its_counts(stage: Stage) -> None:
    def online() -> list[str]:
        stage.browser.open(f"{stage.flower.address}/workers", WORKERS_SHOWN)
        (row,) = cells(stage, "workers-table")
        return row if row[1] == "Online" else []

    # on a busy machine its heartbeats may come late for a moment
    name, status, active, processed, failed, succeeded, _ = wait_until("it is online", online)
    assert (name, status, active) == (WORKER_NAME, "Online", "0")
    # a try is a task: the group, the two that it was made of, and the last try of the one that was not revoked
    assert (processed, failed, succeeded) == ("6", "1", "2")


def test_the_queue_is_as_long_as_in_redis_while_no_worker_runs(stage: Stage) -> None:
    assert stage.in_redis == 3
    # nothing of a bulk run waits
    assert stage.lengths == {stage.installation.group_id: 3, f"{stage.installation.group_id}-bulk": 0}
    assert f"{stage.installation.group_id}\t3\t" in stage.waiting


def test_the_queue_is_empty_when_all_is_done(stage: Stage) -> None:
    stage.browser.open(f"{stage.flower.address}/broker", "document.querySelector('#queue-table tbody tr')")
    assert f"{stage.installation.group_id}\t0\t" in stage.browser.text()


def test_no_page_and_no_answer_names_a_learner(stage: Stage) -> None:
    users = [learner.user for learner in stage.learners]
    told = {}
    for path, until in (
        ("/workers", WORKERS_SHOWN),
        (f"/worker/{WORKER_NAME}", "document.querySelector('#worker-page, .page-section')"),
        ("/tasks", f"{TASK_ROWS} === 5"),
        ("/broker", "document.querySelector('#queue-table tbody tr')"),
        *((f"/task/{task}", "document.querySelector('#task-page')") for task in stage.flower.tasks()),
    ):
        stage.browser.open(stage.flower.address + path, until)
        told[path] = stage.browser.html()
    for path in ("/api/tasks", "/api/workers?refresh=1", "/metrics"):
        told[path] = stage.flower.ask(path)[1]

    assert WORKER_NAME in told[f"/worker/{WORKER_NAME}"]
    assert stage.learners[0].course in told["/tasks"]
    found = {path: user for path, text in told.items() for user in users if user in text}
    assert found == {}


@pytest.mark.parametrize("path", ["/workers", "/tasks", "/broker", f"/worker/{WORKER_NAME}"])
def test_a_page_is_whole_without_the_internet(stage: Stage, path: str) -> None:
    stage.browser.open(stage.flower.address + path, "document.querySelector('.app-navbar')")

    assert stage.browser.strangers() == []
    assert stage.browser.problems == []
    # its style has come
    assert stage.browser.evaluate("getComputedStyle(document.querySelector('.app-navbar')).position") == "sticky"


def test_who_only_looks_can_change_nothing(stage: Stage, logs: Path) -> None:
    task, shutdown = f"/api/task/revoke/{stage.failed}", f"/api/worker/shutdown/{WORKER_NAME}"
    for variables, status in (({"FLOWER_READ_ONLY": "true"}, 403), ({"FLOWER_BASIC_AUTH": ""}, 401)):
        flower = Flower(stage.installation, logs, variables)
        try:
            flower.start()
            assert flower.ask("/workers")[0] == 200
            assert (flower.ask(task, "POST")[0], flower.ask(shutdown, "POST")[0]) == (status, status), variables
        finally:
            flower.process.kill()


def test_all_but_health_and_metrics_ask_for_the_password(stage: Stage) -> None:
    def status(path: str, method: str = "GET") -> int:
        return stage.flower.ask(path, method, headers={})[0]

    asked = ("/", "/workers", "/tasks", "/broker", f"/task/{stage.failed}", f"/worker/{WORKER_NAME}", "/api/tasks")
    assert {path: status(path) for path in asked} == dict.fromkeys(asked, 401)
    assert status(f"/api/worker/shutdown/{WORKER_NAME}", "POST") == 401
    assert {path: status(path) for path in ("/healthcheck", "/metrics")} == {"/healthcheck": 200, "/metrics": 200}
    assert stage.flower.ask("/")[0] == 200
    assert USER.partition(":")[2] not in stage.flower.process.output()
