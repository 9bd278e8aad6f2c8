"""What is logged, by us and by libraries, goes one way: to standard error, in the form asked for."""

import json
import logging
import subprocess
import sys
from datetime import datetime, timedelta
from typing import Any

import pytest
import structlog

from reconciliation.log_noise import NoiseFilter
from reconciliation.log_rows import MOST_ROWS, write_rows
from reconciliation.logs import configure_logging


def records(capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    written = capsys.readouterr()
    assert written.out == ""
    return [json.loads(line) for line in written.err.splitlines()]


def test_json_is_one_object_a_line_whoever_logs(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging("json", "info")
    structlog.get_logger("bridge.poll").info("took records\nfrom Kafka", count=3)
    logging.getLogger("celery.worker").warning("lost %s", "the broker", extra={"broker": "redis"})
    logging.getLogger("library").info("said something")
    ours, celery, library = records(capsys)
    assert (ours["event"], ours["count"], ours["level"], ours["logger"]) == (
        "took records\nfrom Kafka",
        3,
        "info",
        "bridge.poll",
    )
    assert (celery["event"], celery["broker"], celery["level"]) == ("lost the broker", "redis", "warning")
    assert library["event"] == "said something"
    for record in (ours, celery, library):
        assert datetime.fromisoformat(record["timestamp"]).utcoffset() == timedelta(0)


def test_what_there_was_to_say_before_is_told_in_the_same_form(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging("json", "info", ["two spellings differ"])
    (record,) = records(capsys)
    assert (record["event"], record["level"]) == ("two spellings differ", "warning")


@pytest.mark.parametrize("form", ["console", "json"])
def test_no_variable_s_value_comes_with_an_exception(form: str, capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging(form, "info")
    password = "topsecret"
    try:
        int("no such thing" + password[:0])
    except ValueError:
        structlog.get_logger("ours").exception("it failed")
        logging.getLogger("theirs").exception("it failed")
    said = capsys.readouterr().err
    assert said.count("ValueError: invalid literal") == 2
    # once in the line of source that a traceback shows is not its value
    assert f"'{password}'" not in said


def test_an_exception_stays_on_its_line(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging("json", "info")
    try:
        int("no such thing")
    except ValueError:
        structlog.get_logger("ours").exception("it failed")
        logging.getLogger("theirs").exception("it failed")
    for record in records(capsys):
        assert "ValueError: invalid literal" in record["exception"]


def test_a_server_that_is_away_is_told_by_libraries_in_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    for form in ("json", "console"):
        configure_logging(form, "info")
        try:
            raise ConnectionRefusedError(111, "refused")
        except OSError:
            logging.getLogger("cassandra.cluster").exception("no connection")
        (line,) = capsys.readouterr().err.splitlines()
        assert "ConnectionRefusedError: [Errno 111] refused" in line


def test_level_holds_and_noisy_libraries_begin_at_warning(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging("json", "debug")
    structlog.get_logger("ours").debug("kept")
    for name in ("kombu.connection", "cassandra.cluster", "celery.worker.strategy", "urllib3"):
        logging.getLogger(name).info("dropped")
    assert [record["event"] for record in records(capsys)] == ["kept"]
    configure_logging("json", "error")
    structlog.get_logger("ours").warning("dropped")
    logging.getLogger("kombu").warning("dropped")
    assert records(capsys) == []


def test_configured_twice_writes_once_and_console_has_no_colours_in_a_file(
    capsys: pytest.CaptureFixture[str],
) -> None:
    configure_logging("json", "info")
    configure_logging("console", "info")
    structlog.get_logger("ours").info("ready", port=9464)
    text = capsys.readouterr().err
    assert text.count("ready") == 1
    assert "port=9464" in text
    assert "\x1b" not in text


FORGED = "do_1\n2026-01-01T00:00:00Z [error    ] forged\r\x1b[2J\x1b]0;title\x07\u202e\u2028\ud800"


@pytest.mark.parametrize("form", ["console", "json"])
def test_an_id_forges_no_record_and_steers_no_terminal(form: str, capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging(form, "info")
    log = structlog.get_logger("ours")
    log.info("read", course=FORGED, courses=[FORGED], key=FORGED.encode("utf-8", "replace"), error=ValueError(FORGED))
    log.warning(str(ValueError(FORGED)))
    logging.getLogger("celery.app.trace").error("Task %s raised", FORGED, extra={"id": FORGED})
    lines = capsys.readouterr().err.split("\n")
    assert len(lines) == 4
    assert lines.pop() == ""
    for line in lines:
        assert line.isprintable()
        assert "forged" in line
        assert not line.startswith("2026-01")


def test_a_traceback_s_lines_are_set_in_whatever_its_error_says(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging("console", "info")

    def break_down() -> None:
        raise ValueError(FORGED)

    try:
        break_down()
    except ValueError:
        structlog.get_logger("ours").exception("it broke")
    first, *lines = capsys.readouterr().err.splitlines()
    assert "it broke" in first
    assert any("ValueError: do_1" in line for line in lines)
    assert any("forged" in line for line in lines)
    for line in lines:
        assert line.startswith("    ")
        assert line.isprintable()


ROWS = [{"entry": "one", "seconds": 0.5, "attempts": 2}, {"entry": 'two "x"\n=', "seconds": 1, "attempts": 1}]


def test_rows_are_one_object_a_line_like_any_other_record(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging("json", "info")
    write_rows(logging.getLogger("tasks.outcomes"), logging.INFO, "a request ended", ROWS)
    structlog.get_logger("tasks.outcomes").info("a request ended", **ROWS[0])
    first, second, ordinary = records(capsys)
    assert {name: second[name] for name in ROWS[1]} == ROWS[1]
    assert {**ordinary, "timestamp": first["timestamp"]} == first
    assert datetime.fromisoformat(first["timestamp"]).utcoffset() == timedelta(0)


def test_rows_for_people_look_like_any_other_record(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging("console", "info")
    write_rows(logging.getLogger("tasks.outcomes"), logging.WARNING, "a request ended", ROWS)
    structlog.get_logger("tasks.outcomes").warning("a request ended", **ROWS[0])
    first, second, ordinary = capsys.readouterr().err.splitlines()
    assert second.endswith("[tasks.outcomes] entry='two \"x\"\\n=' seconds=1 attempts=1")
    stamp = len("2026-11-26T10:00:00.000000Z")
    assert sorted(first[stamp:].split()) == sorted(ordinary[stamp:].split())


def test_many_rows_are_all_written_and_those_below_the_level_are_not(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging("json", "warning")
    rows = [{"number": number} for number in range(3 * MOST_ROWS + 1)]
    write_rows(logging.getLogger("ours"), logging.INFO, "dropped", rows)
    write_rows(logging.getLogger("ours"), logging.ERROR, "kept", rows)
    assert [record["number"] for record in records(capsys)] == list(range(3 * MOST_ROWS + 1))


def test_what_a_library_repeats_is_told_at_growing_intervals(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging("json", "info")
    now = [0.0]
    logging.getLogger().handlers[0].addFilter(NoiseFilter(("library", "ours.not"), clock=lambda: now[0]))
    for now[0] in range(100):
        logging.getLogger("library.connection").error("no answer from port %d", 1000 + now[0])
        logging.getLogger("ours").error("told each time")
    told = [record for record in records(capsys) if record["logger"] == "library.connection"]
    assert [(record["event"][-4:], record.get("held_back")) for record in told] == [
        ("1000", None),
        ("1010", 9),
        ("1030", 19),
        ("1070", 39),
    ]


def test_what_a_library_says_anew_or_after_a_long_silence_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging("json", "info")
    now = [0.0]
    logging.getLogger().handlers[0].addFilter(NoiseFilter(("library",), clock=lambda: now[0]))
    for what in ("FAIL", "FAIL", "TIMEOUT"):
        logging.getLogger("library").error("%s [%s]", what, "producer-1")
    now[0] = 301.0
    logging.getLogger("library").error("%s [%s]", "FAIL", "producer-2")
    assert [record["event"] for record in records(capsys)] == [
        "FAIL [producer-1]",
        "TIMEOUT [producer-1]",
        "FAIL [producer-2]",
    ]


def test_warnings_and_what_ends_threads_and_the_process_are_told_in_the_same_form() -> None:
    program = """
import threading, warnings
from reconciliation.logs import configure_logging
configure_logging("json", "info")
warnings.warn("old\\nnews")
thread = threading.Thread(target=lambda: int("no number"), name="one of ours")
thread.start()
thread.join()
raise RuntimeError("the end")
"""
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode == 1
    warning, thread, end = [json.loads(line) for line in ended.stderr.splitlines()]
    assert (warning["logger"], warning["level"]) == ("py.warnings", "warning")
    assert "UserWarning: old\nnews" in warning["event"]
    assert (thread["level"], thread["thread"]) == ("error", "one of ours")
    assert "ValueError: invalid literal" in thread["exception"]
    assert end["level"] == "critical"
    assert "RuntimeError: the end" in end["exception"]
