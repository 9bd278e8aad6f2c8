"""No learner's id reaches a log that is not meant to show it."""

import hashlib

import pytest

from reconciliation.model import EnrolmentKey
from reconciliation.personal import hashed, id_fields, traceback_without_learners, without_learners

USER = "fbe926ac-a395-40e4-a65b-9b4f711d7642"
ENROLMENT = EnrolmentKey(USER, "do_1", "0131")


@pytest.mark.parametrize(
    ("form", "shown"),
    [
        ("none", {}),
        ("hashed", {"user": hashlib.sha256(USER.encode()).hexdigest()[:16], "course": "do_1", "batch": "0131"}),
        ("plain", {"user": USER, "course": "do_1", "batch": "0131"}),
    ],
)
def test_ids_are_shown_as_the_setting_says(form: str, shown: dict[str, str]) -> None:
    assert id_fields(form)(ENROLMENT) == shown


def test_an_id_that_utf_8_cannot_carry_has_a_hash_too() -> None:
    assert len(hashed("\ud800")) == 16


@pytest.mark.parametrize(
    ("text", "user", "without"),
    [
        (f"KeyError: '{USER}'", USER, "KeyError: '(learner)'"),
        (f"row 0131_{USER}: broken", USER, "row 0131_(learner): broken"),
        (f"{USER},{USER}", USER, "(learner),(learner)"),
        ("ValueError: 'a\\nb'", "a\nb", "ValueError: '(learner)'"),
        ("batch 7 of course 17 for 7", "7", "batch (learner) of course 17 for (learner)"),
        ("it can't be read", "a", "it can't be read"),
        ("user .* is gone", ".*", "user (learner) is gone"),
        ("nothing is left out", "", "nothing is left out"),
    ],
)
def test_a_learner_is_taken_out_of_a_text(text: str, user: str, without: str) -> None:
    assert without_learners(text, (user,)) == without


def test_a_learner_is_taken_out_of_a_traceback() -> None:
    try:
        _fail_over(USER)
    except RuntimeError as error:
        text = traceback_without_learners(error, ("another", USER))
    assert USER not in text
    assert "KeyError: '(learner)'" in text
    assert "RuntimeError: no row of (learner)" in text


def _fail_over(user: str) -> None:
    rows: dict[str, str] = {}
    try:
        rows[user]
    except KeyError as cause:
        raise RuntimeError(f"no row of {user}") from cause
