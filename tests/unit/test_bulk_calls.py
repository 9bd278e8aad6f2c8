"""How `bulk` is called: what is refused before a server is asked anything."""

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
