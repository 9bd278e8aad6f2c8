"""A bulk report's file holds whole lines, however the disk or the process gives way."""

import json
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click
import pytest

from bulk.model import Found, Reason, Slice, TokenRange
from commands.bulk_report_file import ReportFile
from commands.endings import NotDone
from reconciliation.model import EnrolmentKey

BEGINNING = "user,course,batch,reasons,changes\r\n"


def part(first: int, count: int) -> Slice:
    keys = [EnrolmentKey(f"user-{number}", "do_1", "batch") for number in range(first, first + count)]
    return Slice(TokenRange(first, first + count), count, tuple(Found(it, (Reason.SELECTED,)) for it in keys), ())


def lines(first: int, count: int) -> str:
    return "".join(f"user-{number},do_1,batch,selected,\r\n" for number in range(first, first + count))


def text(path: Path) -> str:
    return path.read_bytes().decode()


@contextmanager
def files_of_at_most(size: int) -> Iterator[None]:
    """Let a file grow no further, as a full disk does: what is over that is not written, and the rest is."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_full_disk_ends_it_with_one_line_and_whole_lines_in_the_file(tmp_path: Path) -> None:
    path = tmp_path / "stuck.csv"
    with ReportFile(path) as report:
        report.add(part(0, 20))
        whole = len(BEGINNING + lines(0, 20))
        told = r"^the report can't be written: .*stuck\.csv: File too large$"
        with files_of_at_most(whole + 50), pytest.raises(NotDone, match=told):
            report.add(part(20, 20))
    assert text(path) == BEGINNING + lines(0, 20)
    # as `bulk --resume` goes on
    with ReportFile(path, goes_on=True) as report:
        report.add(part(20, 20))
    assert text(path) == BEGINNING + lines(0, 40)


def test_a_disk_that_is_full_from_the_start_is_told_before_anything_is_done(tmp_path: Path) -> None:
    path = tmp_path / "stuck.csv"
    path.symlink_to("/dev/full")
    with pytest.raises(click.BadParameter, match="No space left on device"):
        ReportFile(path)


def test_a_report_that_goes_on_writes_nothing_before_its_run_does(tmp_path: Path) -> None:
    path = tmp_path / "stuck.csv"
    # as another process leaves it for a moment that drives the run
    path.write_bytes((BEGINNING + "user-0,do").encode())
    with ReportFile(path, goes_on=True):
        assert text(path) == BEGINNING + "user-0,do"
    assert text(path) == BEGINNING + "user-0,do"


@pytest.mark.parametrize("half", ["", "user-2,do", "user-2,do_1,batch,selected,\r", '"user\nwith', "x" * 100_000])
def test_half_a_line_of_a_killed_process_is_taken_off(tmp_path: Path, half: str) -> None:
    path = tmp_path / "stuck.csv"
    whole = BEGINNING + lines(0, 1) + '"user ""quoted""\r\nand more",do_1,batch,selected,\r\n' + lines(1, 1)
    path.write_bytes((whole + half).encode())
    with ReportFile(path, goes_on=True) as report:
        report.add(part(2, 1))
    assert text(path) == whole + lines(2, 1)


def test_half_a_document_of_a_killed_process_is_taken_off(tmp_path: Path) -> None:
    path = tmp_path / "stuck.jsonl"
    with ReportFile(path) as report:
        report.add(part(0, 2))
    whole = text(path)
    path.write_bytes((whole + '{"user": "a \\"').encode())
    with ReportFile(path, goes_on=True) as report:
        report.add(part(2, 1))
    added = text(path).removeprefix(whole)
    assert json.loads(added)["user"] == "user-2"


def test_half_of_the_first_line_leaves_a_report_that_begins_anew(tmp_path: Path) -> None:
    path = tmp_path / "stuck.csv"
    path.write_bytes(BEGINNING[:9].encode())
    with ReportFile(path, goes_on=True) as report:
        report.add(part(0, 1))
    assert text(path) == BEGINNING + lines(0, 1)


def test_a_new_report_takes_the_place_of_an_old_one(tmp_path: Path) -> None:
    path = tmp_path / "stuck.csv"
    path.write_text("what was there")
    with ReportFile(path) as report:
        report.add(part(0, 1))
    assert text(path) == BEGINNING + lines(0, 1)
