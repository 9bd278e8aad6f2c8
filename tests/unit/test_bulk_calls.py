"""How `bulk` is called: what is refused before a server is asked anything."""

from pathlib import Path

import pytest
from click.testing import CliRunner

from commands.bulk import bulk


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--user", ""], "'--user': it is blank"),
        (["--user", "", "--apply", "--yes"], "'--user': it is blank"),
        (["--batch", " "], "'--batch': it is blank"),
        (["--stuck", "--course", ""], "'--course': it is blank"),
        (["--missing-certificates", "--batch", "\t"], "'--batch': it is blank"),
        (["--active-only", "--not-completed"], "say which enrolments"),
        (["--no-recount"], "say which enrolments"),
    ],
)
def test_a_call_that_would_mean_everybody_is_refused(arguments: list[str], told: str) -> None:
    ended = CliRunner().invoke(bulk, arguments)
    assert ended.exit_code == 2
    assert told in ended.stderr


@pytest.mark.parametrize("arguments", [[], ["--apply", "--yes"], ["--resume", "20260131-143005-none"]])
def test_a_report_never_takes_the_place_of_the_file_that_is_read(tmp_path: Path, arguments: list[str]) -> None:
    learners, other_name = tmp_path / "learners.csv", tmp_path / "other.csv"
    learners.write_bytes(b"user,course,batch\na,do_1,b\n")
    other_name.hardlink_to(learners)
    for report in (learners, other_name):
        ended = CliRunner().invoke(bulk, ["--file", str(learners), "--report", str(report), *arguments])
        assert ended.exit_code == 2
        assert "would write over what --file reads" in ended.stderr
        assert learners.read_bytes() == b"user,course,batch\na,do_1,b\n"
