"""How `bulk` is called: what is refused before a server is asked anything."""

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from bulk.model import Selection
from bulk.order import Order
from bulk.runs import RunCounts, RunState
from bulk.tally import Tally
from commands import bulk_carrying
from commands.bulk import bulk
from commands.bulk_carrying import Call
from commands.bulk_running import Done
from commands.endings import NotDone, ServerAway
from reconciliation.settings import load_settings


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


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--missing-certificates", "--not-completed"], "which --not-completed leaves out"),
        (["--stuck", "--apply", "--yes"], "SHADOW_ENABLED"),
        (["--batch", "b", "--apply", "--yes"], "SHADOW_ENABLED"),
    ],
)
def test_what_could_do_nothing_is_refused_before_anybody_looks(
    monkeypatch: pytest.MonkeyPatch, arguments: list[str], told: str
) -> None:
    monkeypatch.setenv("SHADOW_ENABLED", "true")
    # whoever looks all the same ends soon
    monkeypatch.setattr(bulk_carrying, "_look", lambda *_: pytest.fail("it looked"))
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


@pytest.mark.parametrize(("given_up", "ending"), [(0, ServerAway), (1, NotDone)])
def test_a_run_is_told_though_nobody_could_look_again(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], given_up: int, ending: type[Exception]
) -> None:
    def away(*_: Any) -> None:
        raise ServerAway("looking for enrolments stopped: Cassandra is away")

    monkeypatch.setattr(bulk_carrying, "_look", away)
    counts = RunCounts(submitted=3, given_up=given_up)
    done = Done("run-1", RunState.FINISHED, counts, Tally(looked_at=5, found=3, unjudged=2))
    call = Call(load_settings({}), None, None, recount=True, as_json=True)
    with pytest.raises(ending) as raised:
        bulk_carrying._end(call, Order(Selection(stuck=True)), done, done.tally)
    shown = capsys.readouterr()
    document = json.loads(shown.out)
    told = {name: document[name] for name in ("state", "submitted", "given_up", "unjudged", "after")}
    assert told == {"state": "finished", "submitted": 3, "given_up": given_up, "unjudged": 2, "after": None}
    assert "run run-1 is finished, but what is wrong now could not be counted" in f"{shown.err}{raised.value}"
