"""Ports that local servers may take: no two the same, and a part of the range for each process of a test run."""

from itertools import pairwise

import pytest

from devstack.errors import DevstackError
from devstack.ports import FREE_PORTS, different_ports, free_port, part_of_range


def bounds(text: str) -> range:
    first, last = map(int, text.split("-"))
    return range(first, last + 1)


def test_ports_that_are_found_together_are_different(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(FREE_PORTS, "20100-20140")
    for _ in range(50):
        assert len(set(different_ports(8))) == 8


def test_a_process_keeps_to_its_part_of_the_range(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(FREE_PORTS, part_of_range(1, 3))
    assert {free_port() for _ in range(50)} <= set(bounds(part_of_range(1, 3)))


@pytest.mark.parametrize("count", [1, 2, 3, 7])
def test_the_parts_lie_apart_and_within_the_range(count: int) -> None:
    parts = [bounds(part_of_range(number, count)) for number in range(count)]
    for one, other in pairwise(parts):
        assert one[-1] < other[0]
    assert parts[0][0] == 20_000
    assert parts[-1][-1] < 26_000


@pytest.mark.parametrize("text", ["20000", "a-b", "21000-20000", "0-5", "20000-70000"])
def test_what_is_no_range_is_told(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv(FREE_PORTS, text)
    with pytest.raises(DevstackError, match="20000-21999"):
        free_port()


def test_a_port_is_not_found_again_before_somebody_listens_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(FREE_PORTS, part_of_range(1, 3))
    assert len({free_port() for _ in range(200)}) == 200
