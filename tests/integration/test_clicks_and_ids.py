"""What may stand in a request, and what many of them together do."""

import json

import pytest

from tests.support.checks import check_announced_once, check_silent, progress_of
from tests.support.events import encoded, sync_event
from tests.support.installation import Installation, new_learner, unique
from tests.support.relations import course_of_units
from tests.support.tables import Learner


@pytest.mark.parametrize(
    "text",
    [
        'it\'s "quoted" \\ and ; -- DROP TABLE',
        "ಕನ್ನಡ हिन्दी 中文 عربى",
        "👩🏽‍🎓🎉",
        "a:b:leafnodes",
        "%s {0} ? $1 {{env}}",
        "[*]?{x}",
        "line\nbreak\tand \x00\x1f control",
        "long" * 200,
    ],
    ids=["quotes", "scripts", "emoji", "colons", "placeholders", "patterns", "control characters", "long"],
)
def test_any_text_is_an_id(installation: Installation, text: str) -> None:
    learner = Learner(f"user {text} {unique('')}", f"course {text} {unique('')}", f"batch {text}")
    content, unit = f"content {text}", f"unit {text}"
    installation.relations.fill(course_of_units(learner.course, {unit: {content}}))
    installation.tables.add_consumption({learner: {content: 2}})
    installation.tables.add_enrolments([learner])

    installation.sync(learner)

    assert progress_of(installation, learner) == (2, 1, {content: 2})
    assert installation.tables.completed_counts(learner) == {learner.course: 1.0, unit: 1.0}
    check_announced_once(installation, learner)


def test_the_action_is_compared_without_case_and_unknown_fields_do_no_harm(installation: Installation) -> None:
    learner = new_learner()
    installation.relations.fill(course_of_units(learner.course, {"unit": {"a"}}))
    installation.tables.add_consumption({learner: {"a": 2}})
    installation.tables.add_enrolments([learner])
    event = {**sync_event(learner, action="User-Enrolment-SYNC", priority=[1, None]), "later": {"release": True}}

    installation.send_records([(None, json.dumps(event).encode())])
    installation.wait_settled()

    assert progress_of(installation, learner) == (2, 1, {"a": 2})
    check_announced_once(installation, learner)


@pytest.mark.parametrize(
    "change", [{"action": "batch-enrolment-update"}, {"action": None}, {"action": ["user-enrolment-sync"]}]
)
def test_another_action_is_not_ours(installation: Installation, change: dict[str, object]) -> None:
    learner = new_learner()
    installation.relations.fill(course_of_units(learner.course, {"unit": {"a"}}))
    installation.tables.add_consumption({learner: {"a": 2}})

    installation.send_records([(learner.user.encode(), encoded(sync_event(learner, **change)))])
    installation.wait_settled()

    assert installation.tables.aggregates(learner) == {}
    check_silent(installation, learner)


def test_many_clicks_are_announced_once(installation: Installation) -> None:
    learner, other = new_learner(), new_learner()
    for one in (learner, other):
        installation.relations.fill(course_of_units(one.course, {"unit": {"a", "b"}}))
        installation.tables.add_consumption({one: {"a": 2, "b": 2}})
    installation.tables.add_enrolments([learner, other])

    installation.sync(*[learner, other, learner] * 16, learner, learner)

    for one in (learner, other):
        assert progress_of(installation, one) == (2, 2, {"a": 2, "b": 2})
        check_announced_once(installation, one)
        assert installation.failures(one) == []


def test_what_comes_later_is_seen_by_the_next_request(installation: Installation) -> None:
    learner = new_learner()
    installation.relations.fill(course_of_units(learner.course, {"unit": {"a", "b"}}))
    installation.tables.add_enrolments([learner])
    installation.tables.add_consumption({learner: {"a": 2, "b": 1}})
    installation.sync(learner)
    assert progress_of(installation, learner) == (1, 1, {"a": 2, "b": 1})

    installation.tables.add_consumption({learner: {"b": 2}})
    installation.sync(learner)

    assert progress_of(installation, learner) == (2, 2, {"a": 2, "b": 2})
    assert installation.tables.completed_counts(learner) == {learner.course: 2.0, "unit": 2.0}
    check_announced_once(installation, learner)
