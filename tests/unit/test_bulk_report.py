"""What a bulk run's report says of an enrolment, in both of its forms."""

import csv
import io
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulk.model import Found, Reason, Unjudged
from bulk.report import COLUMNS, Report, ReportForm, change_text, report_form
from commands.request_file import read_enrolments
from reconciliation.comparison import Cell, Change
from reconciliation.model import EnrolmentKey

KEY = EnrolmentKey("user-1", "do_1", "batch-1")
STUCK = Found(
    KEY,
    (Reason.NOT_COMPLETED, Reason.AGGREGATES),
    (
        Change(Cell.STATUS, 1, 2),
        Change(Cell.COMPLETED_ON, None, 1_700_000_000_000),
        Change(Cell.CONTENT_STATUS, {"a": 1}, {"a": 2, "b": 2, "c": 1}),
        Change(Cell.COMPLETED_COUNT, 1.0, 3.0, "do_unit1"),
    ),
)


def written(form: ReportForm, *found: Found | Unjudged) -> str:
    stream = io.StringIO(newline="")
    Report(stream, form).add(found)
    return stream.getvalue()


def test_a_line_of_csv_names_the_enrolment_the_reasons_and_each_change() -> None:
    header, line = csv.reader(io.StringIO(written(ReportForm.CSV, STUCK)))
    assert tuple(header) == COLUMNS
    assert line[:3] == ["user-1", "do_1", "batch-1"]
    assert line[3] == "requirement met, not completed; aggregates differ"
    assert line[4].split("; ") == [
        "status: 1 -> 2",
        "completedon: nothing -> 1700000000000",
        "contentstatus: 0 of 1 contents completed -> 2 of 3 contents completed",
        "completedCount of do_unit1: 1 -> 3",
    ]


def test_a_line_of_json_says_every_cell_as_it_is() -> None:
    (line,) = written(ReportForm.JSON_LINES, STUCK).splitlines()
    document = json.loads(line)
    assert document["user"] == "user-1"
    assert document["reasons"] == ["requirement met, not completed", "aggregates differ"]
    assert document["changes"][2] == {
        "cell": "contentstatus",
        "before": {"a": 1},
        "after": {"a": 2, "b": 2, "c": 1},
    }
    assert document["changes"][3] == {"cell": "completedCount", "activity": "do_unit1", "before": 1.0, "after": 3.0}


def test_what_could_not_be_judged_is_in_the_report_with_the_reason() -> None:
    unjudged = Unjudged(KEY, "the relation cache holds no leaf nodes")
    assert "could not be judged,the relation cache holds no leaf nodes" in written(ReportForm.CSV, unjudged)
    assert json.loads(written(ReportForm.JSON_LINES, unjudged))["unjudged"] == "the relation cache holds no leaf nodes"


@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1).filter(lambda text: text.strip() == text))
def test_any_id_comes_back_when_the_report_is_read_as_a_selection(user_id: str) -> None:
    text = written(ReportForm.CSV, Found(EnrolmentKey(user_id, "do_1", "b"), (Reason.SELECTED,)))
    (read,) = read_enrolments(io.BytesIO(text.encode()))
    assert read == EnrolmentKey(user_id, "do_1", "b")


def test_what_a_report_says_in_words_steers_no_terminal_and_is_no_formula() -> None:
    text = written(ReportForm.CSV, Unjudged(KEY, "=cmd()\x1b[2J"))
    assert "\x1b" not in text
    assert '," =cmd()\\x1b[2J"' in text or ", =cmd()\\x1b[2J" in text
    assert change_text(Change(Cell.COMPLETED_COUNT, None, 0.0, "do\n1")) == "completedCount of do\\n1: nothing -> 0"


@pytest.mark.parametrize(("name", "form"), [("a.csv", ReportForm.CSV), ("/x/B.JSONL", ReportForm.JSON_LINES)])
def test_the_files_name_says_its_form(name: str, form: ReportForm) -> None:
    assert report_form(name) is form


def test_another_name_is_refused_with_what_is_allowed() -> None:
    with pytest.raises(ValueError, match=r"'report\.txt' ends neither in \.csv nor in \.jsonl"):
        report_form("report.txt")


@pytest.mark.parametrize("sign", ["=", "+", "-", "@"])
def test_an_id_is_no_formula_either_and_is_read_as_it_was(sign: str) -> None:
    key = EnrolmentKey(f"{sign}HYPERLINK(A1)", f"{sign}1", f"{sign}b")
    text = written(ReportForm.CSV, Found(key, (Reason.SELECTED,)), Unjudged(key, "why"))
    for line in list(csv.reader(io.StringIO(text)))[1:]:
        assert not any(cell.startswith(sign) for cell in line)
    assert list(read_enrolments(text.encode().splitlines(keepends=True))) == [key, key]
