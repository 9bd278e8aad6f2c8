"""`python -m worker`: Celery's command for workers, alone."""

import json
import sys

import pytest

from tests.support.ended import ended
from tests.support.processes import CELERY, WORKER

# what a worker has loaded when it begins to work
_LOADED = """
import json, sys
from contextlib import suppress
from worker.__main__ import main
with suppress(SystemExit):
    main()
import tasks.reconcile, worker.signals
print(json.dumps(list({name.partition(".")[0] for name, module in sys.modules.items() if module})))
"""


#: Click breaks long names where lines are short.
_WIDE = "200"


def options(*command: str) -> set[str]:
    """List the options that a command's help begins a line with."""
    told = ended(*command, "--help", COLUMNS=_WIDE).stdout
    lines = [line.split() for line in told.splitlines() if line.startswith("  -")]
    return {word.strip(",") for words in lines for word in words[:3] if word.startswith("-")}


def test_it_has_all_options_of_celery_s_command_but_those_that_would_do_nothing() -> None:
    theirs = options(*CELERY, "worker")
    assert {"--queues", "-Q", "--pool", "--hostname", "--detach"} <= theirs
    assert theirs - options(*WORKER) == {"--detach", "-D", "--loglevel", "-l", "--logfile", "-f"}


def test_what_it_does_not_have_is_refused() -> None:
    refused = ended(*WORKER, "-A", "worker")
    assert refused.returncode == 2
    assert "No such option '-A'" in refused.stderr


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ("-D", "supervisor"),
        ("--detach", "supervisor"),
        ("-lINFO", "LOG_LEVEL"),
        ("--loglevel=DEBUG", "LOG_LEVEL"),
        ("--logfile=worker.log", "standard error"),
    ],
)
def test_what_would_do_nothing_is_refused_and_told_what_there_is_instead(given: str, told: str) -> None:
    refused = ended(*WORKER, given)
    assert refused.returncode == 2
    assert told in refused.stderr


def test_what_would_do_nothing_is_refused_from_celery_s_variables_too() -> None:
    refused = ended(*WORKER, CELERY_WORKER_LOGLEVEL="INFO")
    assert refused.returncode == 2
    assert "LOG_LEVEL" in refused.stderr


def test_options_come_from_celery_s_variables_too() -> None:
    refused = ended(*WORKER, CELERY_WORKER_CONCURRENCY="many")
    assert refused.returncode == 2
    assert "got 'many'" in refused.stderr


@pytest.mark.parametrize("option", ["-Q", "-X"])
def test_a_queue_that_is_none_is_refused_by_the_names_of_those_there_are(option: str) -> None:
    refused = ended(*WORKER, option, "celery", KAFKA_GROUPID="group")
    assert refused.returncode == 2
    assert "there is no queue 'celery'; there are group and group-bulk" in refused.stderr


def test_a_worker_loads_no_package_that_it_has_no_use_for() -> None:
    loaded = set(json.loads(ended(sys.executable, "-c", _LOADED, "--help").stdout.splitlines()[-1]))
    assert "celery" in loaded
    assert not loaded & {"flower", "tornado", "click_repl", "prompt_toolkit", "requests", "rich", "pygments"}
    assert not loaded & {"psutil", "yaml", "pydantic", "pydantic_core", "pydantic_settings", "pyhocon"}
