"""Bridges that Kafka has given up, and that wake up while another one has their partitions."""

import re
import sys
from pathlib import Path
from random import Random

import pytest

from tests.faults.conftest import MakeSite
from tests.faults.load import Load
from tests.faults.site import PATIENT, UP_LIMIT, Site
from tests.faults.stalling_bridge import STEPS
from tests.support.processes import Process

ROUNDS = 3
FULL = re.compile("paused, and .*the ledger is full")


class Commits:
    """Looks at what the group has committed, again and again, and insists that it never goes back."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self._highest: dict[int, int] = {}

    def look(self) -> bool:
        """Raise AssertionError when an offset is lower than before; gives True, for use in a wait."""
        for partition, offset in self._site.committed().items():
            assert offset >= self._highest.get(partition, 0), f"partition {partition} went back to {offset}"
            self._highest[partition] = offset
        return True


def _wait_taken_over(site: Site, other: Process, commits: Commits, given_up: int) -> None:
    """Wait until the other bridge has taken so many assignments and all requests so far are committed and settled."""
    site.wait_for(
        f"the {other.name} takes over",
        lambda: commits.look() and _assignments(other) > given_up and not site.behind() and site.open_count() == 0,
        UP_LIMIT,
    )


def _assignments(bridge: Process) -> int:
    return bridge.output().count("partitions assigned")


def _wait_assigned(site: Site, bridge: Process, before: int, commits: Commits) -> None:
    """Wait until a bridge has been given partitions more often than before."""
    site.wait_for(
        f"the {bridge.name} back in its group", lambda: commits.look() and _assignments(bridge) > before, UP_LIMIT
    )


def _wait_in_the_middle(site: Site, bridge: Process, records: int) -> None:
    """Wait until a bridge has taken so many more records, or until nothing is left: somewhere in its work."""
    goal = site.work_done(bridge) + records
    site.wait_for("the bridge in the middle", lambda: site.work_done(bridge) >= goal or not site.behind(), UP_LIMIT)


def _wait_paused(site: Site, bridge: Process, times: int) -> None:
    site.wait_for(f"the {bridge.name} paused", lambda: len(FULL.findall(bridge.output())) >= times, UP_LIMIT)


def _send_the_rest_and_check(site: Site, load: Load, commits: Commits) -> None:
    """Let everything come to its end: no offset goes back, nothing is lost, and nothing is done twice."""
    load.send_all(site)
    site.wait_for("the rest is committed", lambda: commits.look() and not site.behind(), UP_LIMIT)
    site.wait_settled(180)
    commits.look()

    verdict = load.verdict(site)
    verdict.check()
    assert verdict.repeated == ()
    assert site.restarts.total() == 0


@pytest.mark.timeout(900)
def test_a_bridge_that_was_frozen_wakes_as_a_zombie_and_harms_nothing(make_site: MakeSite, seed: int) -> None:
    site = make_site({**PATIENT, "BRIDGE_POLL_RECORDS": "50"}, workers=1, bridges=2)
    load = Load(seed, 1_500 * ROUNDS, clicks=1).prepare(site)
    random, commits = Random(seed), Commits(site)
    site.start()
    for number in range(ROUNDS):
        frozen, other = site.bridges if number % 2 == 0 else reversed(site.bridges)
        load.send_some(site, 1_500)
        site.wait_for("both bridges assigned", lambda: all(map(_assignments, site.bridges)), UP_LIMIT)
        _wait_in_the_middle(site, frozen, random.randint(1, 300))
        assigned = _assignments(other)
        frozen.freeze()
        try:
            _wait_taken_over(site, other, commits, assigned)
            load.send_some(site, 100)
            site.wait_for("more is committed", lambda: commits.look() and not site.behind(), UP_LIMIT)
        finally:
            assigned = _assignments(frozen)
            frozen.thaw()
        _wait_assigned(site, frozen, assigned, commits)
    _send_the_rest_and_check(site, load, commits)


@pytest.mark.timeout(900)
@pytest.mark.parametrize("step", STEPS)
def test_a_bridge_that_did_not_poll_in_time_harms_nothing(
    make_site: MakeSite, seed: int, tmp_path: Path, step: str
) -> None:
    site = make_site({**PATIENT, "BRIDGE_POLL_RECORDS": "50"}, workers=1)
    load = Load(seed, 600, clicks=1).prepare(site)
    commits, file = Commits(site), tmp_path / "stalls"
    file.touch()
    stalling = site.add_bridge([sys.executable, "-m", "tests.faults.stalling_bridge", step, str(file)])
    load.send_some(site, 300)
    site.run(stalling, site.worker)
    site.wait_for("the first bridge has partitions", lambda: _assignments(stalling), UP_LIMIT)
    site.run(site.bridge)
    # the stalled one polls no more, so Kafka gives all its partitions to the other in the end
    _wait_taken_over(site, site.bridge, commits, 0)
    load.send_some(site, 100)
    site.wait_for("more is committed", lambda: commits.look() and not site.behind(), UP_LIMIT)

    file.unlink()
    _wait_assigned(site, stalling, 1, commits)
    _send_the_rest_and_check(site, load, commits)


@pytest.mark.timeout(900)
def test_bridges_come_and_go_while_the_ledger_is_full(make_site: MakeSite, seed: int) -> None:
    bound = 60
    site = make_site({**PATIENT, "LEDGER_MAX_OPEN": str(bound)}, workers=1, bridges=2)
    load = Load(seed, 600).prepare(site)
    commits = Commits(site)
    first, second = site.bridges
    load.send_all(site)
    site.run(first)
    _wait_paused(site, first, 1)
    for number in (1, 2):
        site.run(second)
        _wait_paused(site, second, number)
        assert site.open_count() == bound
        assert sum(site.committed().values()) <= bound
        assigned = _assignments(first)
        site.stop(second)
        _wait_assigned(site, first, assigned, commits)
        assert site.open_count() == bound
        assert sum(site.committed().values()) <= bound
    site.run(site.worker)
    site.wait_settled(180)

    verdict = load.verdict(site)
    verdict.check()
    assert verdict.repeated == ()
    assert site.restarts.total() == 0
