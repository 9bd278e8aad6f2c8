"""What all commands share: exit codes with one line, and output that is tidy for people and programs."""

import json

import click
import pytest
from click.testing import CliRunner

from commands.endings import NotDone, ServerAway, told
from commands.main import main
from commands.terminal import console, print_json, printable, table
from reconciliation.errors import LedgerUnavailable, SettingsError, StoreUnavailable

COMMANDS = main.list_commands(click.Context(main))
HOSTILE = "do_1\x1b[2J\x07\u202e[bold]"


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (SettingsError("redis.port (REDIS_PORT) is wrong"), 2),
        (LedgerUnavailable("the ledger's Redis: refused"), 3),
        (StoreUnavailable("no host answered"), 3),
        (ServerAway("Kafka: no broker"), 3),
        (NotDone("2 of 3 were not sent"), 1),
    ],
)
def test_what_an_operator_can_mend_ends_a_command_with_one_line(
    error: Exception, code: int, capsys: pytest.CaptureFixture[str]
) -> None:
    @told
    def command() -> None:
        raise error

    with pytest.raises(SystemExit) as ended:
        command()
    assert ended.value.code == code
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith(f"error: {error}")
    assert err.count("\n") == 1


def test_an_error_of_our_own_is_not_hidden() -> None:
    @told
    def command() -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        command()


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help_with_examples(name: str) -> None:
    result = CliRunner().invoke(main, [name, "--help"])
    assert result.exit_code == 0
    examples = result.output.partition("Examples:\n")[2].splitlines()
    assert examples
    assert all(line.startswith(f"    enrolment-reconciliation {name}") for line in examples)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_speaks_json(name: str) -> None:
    assert "--json" in CliRunner().invoke(main, [name, "--help"]).output


def test_there_is_no_other_command() -> None:
    result = CliRunner().invoke(main, ["main"])
    assert result.exit_code == 2
    assert "No such command 'main'" in result.output


def test_the_help_names_the_exit_codes() -> None:
    assert "Exit codes: 0 done" in CliRunner().invoke(main, ["--help"]).output


def test_a_table_in_a_pipe_is_neither_cut_nor_coloured(capsys: pytest.CaptureFixture[str]) -> None:
    long = "x" * 300
    console().print(table(["id", "state"], [[long, "open"]]))
    out = capsys.readouterr().out
    assert long in out
    assert "\x1b" not in out


def test_control_characters_are_shown_and_not_sent_to_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    console().print(table(["id"], [[HOSTILE]]))
    out = capsys.readouterr().out
    assert "do_1\\x1b[2J\\x07\\u202e[bold]" in out
    assert printable("Ünï-课程 1") == "Ünï-课程 1"


def test_json_carries_an_id_as_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    print_json({"course": HOSTILE})
    assert json.loads(capsys.readouterr().out) == {"course": HOSTILE}
