"""What the tests' processes have written, read bit by bit as it comes."""

from pathlib import Path

import pytest

from tests.support.processes import Output

WRITTEN = "\x1b[32m\x1b[1minfo\x1b[0m एकक 🎓\r\nno [colour]\nthe end".encode()
READ = "info एकक 🎓\nno [colour]\nthe end"


def test_a_log_that_is_not_there_is_empty(tmp_path: Path) -> None:
    assert Output(tmp_path / "none.log").read() == ""


@pytest.mark.parametrize("step", [1, 2, 3, 7, len(WRITTEN)])
def test_what_is_read_in_parts_is_what_stands_there(tmp_path: Path, step: int) -> None:
    log = tmp_path / "process.log"
    output = Output(log)
    for at in range(0, len(WRITTEN), step):
        with log.open("ab") as file:
            file.write(WRITTEN[at : at + step])
        assert READ.startswith(output.read())
    assert output.read() == READ
    assert output.read() is output.read()
