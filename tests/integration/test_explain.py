"""`enrolment-reconciliation explain`: one enrolment of every state, on real servers; it changes nothing."""

import json
import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

import pytest
import redis
from cassandra.cluster import Session

from devstack.cassandra import session as cassandra_session
from devstack.ports import HOST, Ports, free_port
from devstack.schema import AggregateLayout
from reconciliation.events import completion_mid
from reconciliation.model import Completion, EnrolmentKey
from tests.conftest import MakeKeyspace
from tests.integration.conftest import MakeInstallation
from tests.support.installation import Installation, new_learner, unique
from tests.support.relations import CourseTree, course_of_units
from tests.support.search import SearchService
from tests.support.tables import Learner
from tests.support.waiting import wait_until

DONE_ON = datetime(2023, 5, 10, 11, 12, 13, tzinfo=UTC)
DONE_ON_MS = 1683717133000
NO_CERTIFICATE: dict[str, object] = {"certificates": None, "issued_certificates": None}


@pytest.fixture(scope="module")
def site(make_installation: MakeInstallation) -> Iterator[Installation]:
    """Tables and relation sets; nothing runs."""
    with make_installation() as made:
        yield made


def _course(site: Installation, learner: Learner) -> tuple[str, str]:
    """Make a course of three contents in two units; gives the units."""
    units = unique("unit"), unique("unit")
    site.relations.fill(course_of_units(learner.course, {units[0]: {"do_a", "do_b"}, units[1]: {"do_b", "do_c"}}))
    return units


def _ids(learner: Learner) -> list[str]:
    return [f"--user={learner.user}", f"--course={learner.course}", f"--batch={learner.batch}"]


def _explained(site: Installation, learner: Learner, settings: Mapping[str, str] | None = None) -> dict[str, Any]:
    ended = site.run_command("explain", *_ids(learner), "--json", settings=settings)
    assert ended.returncode == 0, ended.stderr
    document: dict[str, Any] = json.loads(ended.stdout)
    return document


def _summary(document: Mapping[str, Any]) -> str:
    return "\n".join(document["summary"])


def _changed(document: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    return {
        f"{it['cell']} {it['activity_id']}".strip(): (it["before"], it["after"]) for it in document["effect"]["changes"]
    }


def test_halfway_in_sentences_and_tables(site: Installation) -> None:
    learner = new_learner()
    one, two = _course(site, learner)
    site.tables.add_consumption({learner: {"do_a": 2, "do_b": 1}})
    site.tables.add_enrolments([learner], progress=1, contentstatus={"do_a": 2, "do_b": 1}, **NO_CERTIFICATE)
    for activity, count in ((learner.course, 1.0), (one, 1.0), (two, 0.0)):
        site.tables.add_aggregates(learner, activity, {"completedCount": count, "score:do_q": 7.0})

    text = site.operate("explain", *_ids(learner))

    first, second, third, fourth, *_ = text.splitlines()
    assert first == (
        "The learner has completed 1 of 3 required contents; do_b and do_c are still open "
        "(do_b is in progress, do_c was never opened)."
    )
    assert second == "The enrolment says in progress, with progress 1."
    assert third == "A sync would change nothing."
    assert fourth == "No certificate was asked for, since the enrolment is not completed."
    assert re.search(r"do_b\s+│ in progress\s+│ required\s+│ " + ", ".join(sorted((one, two))), text)
    assert re.search(r"do_c\s+│ never opened\s+│ required\s+│ " + two, text)
    assert re.search(one + r" \(unit\)\s+│ 2\s+│ 1\s+│ the same", text)
    assert "score:do_q" in text
    assert "belong to another job and are left alone" in text
    assert "lastreadcontentid   │ do_last" in text
    assert "required contents are still open" in text
    assert "No sync request is open for this enrolment." in text
    document = _explained(site, learner)
    assert document["effect"]["changes"] == []
    assert not document["effect"]["announces"]
    assert document["certificate"]["state"] == "not completed"
    assert document["missing_sets"] == []


def test_finished_but_stuck(site: Installation) -> None:
    learner = new_learner()
    one, two = _course(site, learner)
    statuses = {"do_a": 2, "do_b": 2, "do_c": 2}
    site.tables.add_consumption({learner: statuses})
    site.tables.add_enrolments([learner], progress=2, contentstatus={**statuses, "do_c": 1}, **NO_CERTIFICATE)
    site.tables.add_aggregates(learner, learner.course, {"completedCount": 2.0})

    document = _explained(site, learner)

    assert "The learner has completed all 3 required contents." in _summary(document)
    assert "A sync would complete the enrolment and ask for the certificate." in _summary(document)
    assert "a sync would ask for it" in _summary(document)
    changed = _changed(document)
    assert changed.pop("completedon")[0] is None
    assert changed == {
        "status": (1, 2),
        "progress": (2, 3),
        "contentstatus": ({**statuses, "do_c": 1}, statuses),
        f"completedCount {learner.course}": (2.0, 3.0),
        f"completedCount {one}": (None, 2.0),
        f"completedCount {two}": (None, 2.0),
    }
    assert document["effect"]["announces"]


def _completed(site: Installation, **cells: object) -> Learner:
    learner = new_learner()
    _course(site, learner)
    statuses = {"do_a": 2, "do_b": 2, "do_c": 2}
    site.tables.add_consumption({learner: statuses})
    values = {"status": 2, "completedon": DONE_ON, "progress": 3, "contentstatus": statuses, **NO_CERTIFICATE, **cells}
    site.tables.add_enrolments([learner], **values)
    return learner


def _mid(learner: Learner) -> str:
    return completion_mid(Completion(EnrolmentKey(learner.user, learner.course, learner.batch), DONE_ON_MS))


def test_completed_with_a_certificate(site: Installation) -> None:
    learner = _completed(site, issued_certificates=[{"name": "Gold", "token": "T"}], certificates=[{"name": "Gold"}])
    document = _explained(site, learner)
    assert document["certificate"]["state"] == "issued"
    assert "A certificate is issued (Gold)." in _summary(document)
    assert "The enrolment says completed since 2023-05-10 11:12:13 UTC." in _summary(document)
    assert "The enrolment itself is left alone, since it is completed already." in _summary(document)
    # aggregates alone are written of a completed enrolment
    assert {name.split()[0] for name in _changed(document)} == {"completedCount"}


def test_completed_and_nothing_issued(site: Installation) -> None:
    learner = _completed(site)
    document = _explained(site, learner)
    assert document["certificate"]["state"] == "completed, nothing issued, and not known to be announced"
    assert document["certificate"]["mid"] == _mid(learner)
    assert f"probably sent when it was completed, as {_mid(learner)}" in _summary(document)
    assert "the ledger forgets that after 2 days" in _summary(document)

    paid = f"enrolment-reconciliation:{{{site.group_id}}}:paid:{_mid(learner)}"
    site.redis.set(paid, 1, ex=60)
    document = _explained(site, learner)
    site.redis.delete(paid)
    assert document["certificate"]["state"] == "completed and announced, nothing issued"
    assert f"The certificate event {_mid(learner)} was sent and Kafka confirmed it" in _summary(document)
    assert "enrolment-reconciliation trace" in _summary(document)


def test_completed_without_a_completedon(site: Installation) -> None:
    learner = _completed(site, completedon=None)
    document = _explained(site, learner)
    assert document["certificate"]["state"] == "completed without completedon"
    assert document["certificate"]["mid"] is None
    assert "the certificate service crashes on that; a sync does not mend it" in _summary(document)
    assert "status is 2 but completedon is empty: the certificate service crashes on that" in document["hints"]
    unfiltered = _explained(site, learner, {"ACTIVITY_FILTER_PROCESSED_ENROLMENTS": "false"})
    assert "a sync would write one" in _summary(unfiltered)
    assert "completedon" in _changed(unfiltered)


def test_inactive(site: Installation) -> None:
    learner = _completed(site, active=False)
    document = _explained(site, learner)
    assert document["certificate"]["state"] == "completed, but inactive"
    assert "the certificate service ignores inactive ones" in _summary(document)
    assert document["hints"] == ["the enrolment is inactive: the certificate service ignores it"]


def test_regressed(site: Installation) -> None:
    """The course has grown since the learner completed it, or the row was set back."""
    grown = _completed(site)
    site.relations.fill(course_of_units(grown.course, {"unit": {"do_a", "do_b", "do_c", "do_new"}}))
    document = _explained(site, grown)
    assert "do_new is still open (do_new was never opened)" in _summary(document)
    assert "by what the course is now, something required is open" in _summary(document)
    assert {name.split()[0] for name in _changed(document)} == {"completedCount"}

    back = _completed(site, status=1)
    document = _explained(site, back)
    assert document["hints"] == ["completedon is set though status is not 2: it was completed once and was set back"]
    assert _changed(document)["status"] == (1, 2)


def test_foreign_optional_and_stale_contents(site: Installation) -> None:
    learner = new_learner()
    site.relations.fill(
        CourseTree(
            learner.course,
            {learner.course: {"do_a", "do_b", "do_opt"}, "unit": {"do_a", "do_b"}},
            {learner.course: {"do_opt", "do_was_optional"}},
            {"do_a": {learner.course, "unit", "unit_bare"}, "do_b": {learner.course}, "do_opt": {learner.course}},
        )
    )
    site.tables.add_consumption({learner: {"do_a": 2, "do_opt": 2, "do_gone": 2}})
    site.tables.add_enrolments([learner], **NO_CERTIFICATE)

    document = _explained(site, learner)

    roles = {it["content_id"]: (it["role"], it["status"], it["units"]) for it in document["contents"]}
    assert roles == {
        "do_a": ("required", 2, ["unit", "unit_bare"]),
        "do_b": ("required", None, []),
        "do_opt": ("optional, not counted", 2, []),
        "do_gone": ("not in the course, not counted", 2, []),
    }
    assert document["stale_optional"] == ["do_was_optional"]
    assert document["units_without_leaf_nodes"] == ["unit_bare"]
    assert document["missing_sets"] == [f"{learner.course}:unit_bare:leafnodes"]
    assert "completed 1 of 2 required contents; do_b is still open (do_b was never opened)" in _summary(document)
    text = site.operate("explain", *_ids(learner))
    assert "Listed as optional, but not (or no longer) contents of the course: do_was_optional" in text
    assert "Units without leaf nodes, which count 0: unit_bare" in text
    strict = _explained(site, learner, {"ACTIVITY_OPTIONAL_NODES_ENABLED": "false"})
    assert "completed 2 of 3 required contents" in _summary(strict)


def test_a_missing_set_without_and_with_a_search_service(site: Installation, search: SearchService) -> None:
    learner = new_learner()
    one, _ = _course(site, learner)
    site.relations.remove(learner.course, learner.course, "leafnodes")
    site.relations.remove(learner.course, "do_b", "ancestors")
    site.tables.add_consumption({learner: {"do_a": 2, "do_b": 2}})
    site.tables.add_enrolments([learner], **NO_CERTIFICATE)

    document = _explained(site, learner)
    assert "what the course requires is not known, since its leaf nodes are missing" in _summary(document)
    assert "tried 6 times over some minutes and then be given up (RELATIONS_MISSING" in _summary(document)
    assert document["effect"]["verdict"] is None
    assert f"{learner.course}:{learner.course}:leafnodes" in document["missing_sets"]
    assert f"{learner.course}:do_b:ancestors" in document["missing_sets"]
    assert document["collection_status"] == "not asked: service.search.basePath is not set"
    text = site.operate("explain", *_ids(learner))
    assert "no ancestors: a unit known by it alone gets no aggregate" in text

    asking = {"SERVICE_SEARCH_BASEPATH": search.base_path}
    search.statuses[learner.course] = "Retired"
    document = _explained(site, learner, asking)
    assert document["collection_status"] == "retired"
    assert "The course is retired, so its own row and the enrolment are left alone." in _summary(document)
    assert _changed(document) == {f"completedCount {one}": (None, 2.0)}
    search.statuses[learner.course] = "Live"
    assert _explained(site, learner, asking)["collection_status"].startswith("not retired")
    search.broken = True
    document = _explained(site, learner, asking)
    assert document["collection_status"].startswith("no answer: the search service answered 503")
    assert "A sync would wait until the search service answers" in _summary(document)


def test_no_rows_at_all_and_a_wrong_batch(site: Installation) -> None:
    nobody = new_learner()
    ended = site.run_command("explain", *_ids(nobody))
    assert ended.returncode == 1
    assert "no row names this learner at all" in ended.stderr
    assert ended.stdout == ""

    learner = _completed(site)
    elsewhere = Learner(learner.user, learner.course, unique("batch"))
    site.tables.add_consumption({Learner(learner.user, learner.course, "consumed-only"): {"do_a": 1}})
    ended = site.run_command("explain", *_ids(elsewhere))
    assert ended.returncode == 1
    assert "other batches of this course" in ended.stderr
    assert learner.batch in ended.stderr
    assert "consumed-only" in ended.stderr
    assert ended.stderr.count("\n") == 1
    ended = site.run_command("explain", *_ids(Learner(learner.user, "do_other", "b")), "--json")
    assert ended.returncode == 1
    document = json.loads(ended.stdout)
    assert document["found"] is False
    assert {it["batch_id"]: it["is_enrolled"] for it in document["others"]} == {
        learner.batch: True,
        "consumed-only": False,
    }


def test_consumption_without_an_enrolment(site: Installation) -> None:
    learner = new_learner()
    _course(site, learner)
    site.tables.add_consumption({learner: {"do_a": 2}})
    other = Learner(learner.user, learner.course, unique("batch"))
    site.tables.add_enrolments([other])
    document = _explained(site, learner)
    assert not document["is_enrolled"]
    assert f"The learner is enrolled in other batches of this course: {other.batch}." in _summary(document)
    assert "No enrolment is made where there is none." in _summary(document)


def test_an_enrolment_without_consumption(site: Installation) -> None:
    learner = new_learner()
    _course(site, learner)
    site.tables.add_enrolments([learner], status=0, **NO_CERTIFICATE)
    document = _explained(site, learner)
    assert "The learner has opened none of the 3 required contents." in _summary(document)
    assert "A sync would change nothing. Nothing was opened in this batch." in _summary(document)


@pytest.mark.parametrize("hostile", ["'; DROP TABLE x --", 'q"uo:te{}', "\x1b[2J\x07", "उपयोगकर्ता 课程", "--json"])
def test_hostile_ids_are_data_and_never_steer_the_terminal(site: Installation, hostile: str) -> None:
    learner = Learner(f"{hostile}{unique('u')}", f"{hostile}{unique('c')}", f"{hostile}{unique('b')}")
    content = f"{hostile}content"
    site.relations.fill(course_of_units(learner.course, {f"{hostile}unit": {content, "do_a"}}))
    site.tables.add_consumption({learner: {content: 2}})
    site.tables.add_enrolments([learner], lastreadcontentid=content, issued_certificates=[{"name": hostile}])

    document = _explained(site, learner)
    assert document["enrolment"] == {
        "user_id": learner.user,
        "course_id": learner.course,
        "batch_id": learner.batch,
    }
    assert [it["content_id"] for it in document["contents"]] == sorted([content, "do_a"])
    text = site.operate("explain", *_ids(learner))
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f]", text)
    ended = site.run_command("explain", f"--user={learner.user}x", "--course=c", f"--batch={hostile}")
    assert ended.returncode == 1
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f]", ended.stderr)


def test_an_id_that_no_row_can_have(site: Installation) -> None:
    ended = site.run_command("explain", "--user=" + "u" * 70_000, "--course=c", "--batch=b")
    assert ended.returncode == 1
    assert "nothing can stand under these ids" in ended.stderr
    ended = site.run_command("explain", "--user=", "--course=c", "--batch=b")
    assert ended.returncode == 2
    assert "'--user': it is blank" in ended.stderr


def test_servers_that_are_away(site: Installation) -> None:
    learner = _completed(site)
    closed = str(free_port())
    ended = site.run_command("explain", *_ids(learner), settings={"LMS_CASSANDRA_PORT": closed})
    assert (ended.returncode, ended.stdout) == (3, "")
    assert "lms-cassandra.host" in ended.stderr
    ended = site.run_command(
        "explain",
        *_ids(learner),
        settings={"REDIS_PORT": closed, "LEDGER_REDIS_URL": site.settings["CELERY_BROKER_URL"]},
    )
    assert ended.returncode == 3
    assert "redis.host" in ended.stderr
    document = _explained(site, learner, {"LEDGER_REDIS_URL": f"redis://127.0.0.1:{closed}/0"})
    assert "Whether a sync is open is not known: the ledger's Redis" in _summary(document)
    assert "the ledger could not be asked" in _summary(document)


def test_the_other_key_layout_of_the_aggregates(make_installation: MakeInstallation) -> None:
    with make_installation(layout=AggregateLayout.USER_IN_CLUSTERING) as site:
        learner = new_learner()
        one, two = _course(site, learner)
        site.tables.add_consumption({learner: {"do_a": 2}})
        site.tables.add_enrolments([learner])
        site.tables.add_aggregates(learner, one, {"completedCount": 0.0})
        assert _changed(_explained(site, learner))[f"completedCount {one}"] == (0.0, 1.0)
        assert f"completedCount {two}" not in _changed(_explained(site, learner))


def test_an_open_request_is_told_of(make_installation: MakeInstallation) -> None:
    settings = {"RETRY_ATTEMPTS": "100", "RETRY_BACKOFF_FIRST": "600", "RETRY_BACKOFF_MOST": "600"}
    with make_installation(settings) as running:
        learner = new_learner()
        running.tables.add_consumption({learner: {"do_a": 2}})
        running.tables.add_enrolments([learner], **NO_CERTIFICATE)
        running.start()
        running.send(learner)
        wait_until("a first failed try", lambda: [it for it in running.spent() if it[0] == 1])
        document = _explained(running, learner)
    (request,) = document["open_requests"]
    assert (request["state"], request["attempts"], request["clicks"]) == ("waiting", 1, 1)
    assert request["reason"].startswith("RELATIONS_MISSING")
    assert re.search(
        r"A sync asked for at .* is open after 1 failed try, next looked at .*RELATIONS_MISSING", _summary(document)
    )


def test_certificate_templates_where_the_keyspace_has_them(
    make_installation: MakeInstallation, make_keyspace: MakeKeyspace, ports: Ports
) -> None:
    keyspace = make_keyspace(AggregateLayout.USER_IN_PARTITION)
    with make_installation(keyspace=keyspace) as site, cassandra_session(HOST, ports.cassandra) as session:
        learner = _completed(site)
        assert _explained(site, learner)["certificate"]["templates"].startswith("not looked at")
        _add_batches(session, keyspace)
        assert _explained(site, learner)["certificate"]["templates"].startswith("the table of batches does not hold")
        row = f"INSERT INTO {keyspace}.course_batch (courseid, batchid, name) VALUES (%s, %s, 'x')"  # noqa: S608 - a keyspace of ours
        session.execute(row, (learner.course, learner.batch))
        document = _explained(site, learner)
        assert document["certificate"]["state"] == "completed, but the batch has no certificate template"
        assert "the batch has no certificate template, so none is made" in _summary(document)
        update = f"UPDATE {keyspace}.course_batch SET cert_templates = %s WHERE courseid = %s AND batchid = %s"  # noqa: S608 - as above
        session.execute(update, ({"template": {"name": "t"}}, learner.course, learner.batch))
        document = _explained(site, learner)
        assert document["certificate"]["templates"] == "there is one"
        # an installation whose enrolments have no such columns
        session.execute(f"ALTER TABLE {keyspace}.user_enrolments DROP issued_certificates")
        session.execute(f"ALTER TABLE {keyspace}.user_enrolments DROP lastreadcontentid")
        assert _explained(site, learner)["details"]["issued_certificates"] is None
        assert "no such column" in site.operate("explain", *_ids(learner))


def _add_batches(session: Session, keyspace: str) -> None:
    session.execute(
        f"CREATE TABLE {keyspace}.course_batch (courseid text, batchid text, name text,"
        " cert_templates map<text, frozen<map<text, text>>>, PRIMARY KEY (courseid, batchid))"
    )


def test_it_changes_nothing(site: Installation, ports: Ports) -> None:
    learner = _completed(site, status=1)

    def everything() -> object:
        tables = site.tables
        clients = [redis.Redis(host=HOST, port=ports.redis, db=number) for number in (0, 10)]
        course, group = f"{learner.course}:*", f"*{site.group_id}*"
        keys = [
            sorted((key, client.dump(key)) for key in client.keys(pattern))
            for client in clients
            for pattern in (course, group)
        ]
        for client in clients:
            client.close()
        return (
            tables.enrolment(learner),
            tables.write_times(learner),
            tables.aggregates(learner),
            tables.consumption(learner),
            keys,
        )

    before = everything()
    site.operate("explain", *_ids(learner))
    _explained(site, learner, {"ACTIVITY_FILTER_PROCESSED_ENROLMENTS": "false"})
    assert everything() == before
