"""Enrolments from a CSV file, as spreadsheets and people write them."""

import csv
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from commands.request_file import BadLine, read_enrolments
from reconciliation.model import EnrolmentKey

ALICE = EnrolmentKey("alice", "do_1", "b1")
BOB = EnrolmentKey("bob", "do_2", "b2")


def read(content: bytes) -> list[EnrolmentKey | BadLine]:
    return list(read_enrolments(io.BytesIO(content)))


@pytest.mark.parametrize(
    "content",
    [
        b"user,course,batch\nalice,do_1,b1\nbob,do_2,b2\n",
        b"user,course,batch\r\nalice,do_1,b1\r\nbob,do_2,b2",
        b"\xef\xbb\xbfuser,course,batch\nalice,do_1,b1\nbob,do_2,b2\n",
        b'\xef\xbb\xbf"User","COURSE","Batch"\n"alice","do_1","b1"\n"bob","do_2","b2"\n',
        b"note,Batch,user,x,course\n1,b1,alice,,do_1\n,b2,bob,2,do_2,more,and more\n",
        b"user , course, batch\nalice , do_1,  b1\n bob,do_2,b2\n",
        b"user,course,batch\n\nalice,do_1,b1\n   \n,,\nbob,do_2,b2\n\n",
    ],
    ids=["plain", "crlf", "mark", "quoted", "other columns", "blanks around", "blank lines"],
)
def test_columns_in_any_order_and_case(content: bytes) -> None:
    assert read(content) == [ALICE, BOB]


def test_a_file_may_hold_quotes_commas_and_any_script() -> None:
    assert read('user,course,batch\n"a ""b"", c",課程,ü\n'.encode()) == [EnrolmentKey('a "b", c', "課程", "ü")]


@pytest.mark.parametrize(
    ("content", "line", "reason"),
    [
        (b"", 1, "there is no header"),
        (b"\n", 1, "the header has no user and no course and no batch (it names nothing)"),
        (b"user,course\nalice,do_1\n", 1, "the header has no batch (it names user, course)"),
        (b"user;course;batch\nalice;do_1;b1\n", 1, "columns are separated by commas"),
        (b"alice,do_1,b1\n", 1, "the header has no user"),
        (b"user,course,batch,User\n", 1, "the header names user more than once"),
        (b"user,course,batch\nalice,do_1,b1\nbob,do_2\n", 3, "batch is missing"),
        (b"user,course,batch\nalice, ,b1\n", 2, "course is blank"),
        (b"user,course,batch\n\n\nalice,do_1,\xa0\n", 4, "it is not UTF-8 at byte 12"),
        (b"user,course,batch\nalice,do_1,\xc2\xa0\n", 2, "batch is blank"),
        ("user,course,batch\nalice,do_1,b1\n".encode("utf-16"), 1, "it is not UTF-8 at byte 1"),
        (b'user,course,batch\nalice,do_1,b1\n"bob"x,do_2,b2\n', 3, "expected after"),
        (b'user,course,batch\nalice,do_1,b1\n"bob,do_2,b2\nmore,do_3,b3\n', 3, "unexpected end of data"),
    ],
)
def test_what_is_wrong_is_told_with_its_line(content: bytes, line: int, reason: str) -> None:
    (bad,) = [it for it in read(content) if isinstance(it, BadLine)]
    assert (bad.line, reason in bad.reason) == (line, True), bad


def test_every_bad_line_is_told_and_the_good_ones_too() -> None:
    assert read(b"user,course,batch\n,do_1,b1\nalice,do_1,b1\nbob,,\nbob,do_2,b2\n") == [
        BadLine(2, "user is blank"),
        ALICE,
        BadLine(4, "course is blank"),
        BOB,
    ]


def test_a_row_of_several_lines_is_told_by_its_first() -> None:
    assert read(b'user,course,batch\n"a\nb",do_1,b1\n,do_2,b2\n') == [
        EnrolmentKey("a\nb", "do_1", "b1"),
        BadLine(4, "user is blank"),
    ]


ids = st.text(st.characters(exclude_categories=["Cs"]), min_size=1).filter(lambda text: text == text.strip() != "")


@given(st.lists(st.tuples(ids, ids, ids), max_size=5))
def test_what_a_spreadsheet_writes_comes_back(rows: list[tuple[str, str, str]]) -> None:
    written = io.StringIO(newline="")
    writer = csv.writer(written)
    writer.writerow(["user", "course", "batch"])
    writer.writerows(rows)
    assert read(written.getvalue().encode()) == [EnrolmentKey(*row) for row in rows]
