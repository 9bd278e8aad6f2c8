"""An older release beside this one, on the same topic, ledger and queue: rolled forth and back under load, with kills.

The older release is a commit of this repository, so a checkout with its history is needed: a shallow one fails. Only
an unpacked source tree, which has no history to fetch, is let off.
"""

import io
import subprocess
import tarfile
from pathlib import Path

import pytest

from tests.faults.conftest import MakeSite
from tests.faults.load import Load
from tests.faults.site import Site
from tests.support.installation import new_learner
from tests.support.processes import CELERY, REPOSITORY, Process

#: The release before bulk runs, two queues and groups of 100.
OLDER = "acef1e9eff3fce030694ba7584137f959ae98af1"
#: What a process must have done before the next step, in requests.
WORK = 100


@pytest.fixture(scope="module")
def older(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The older release's code."""
    packed = subprocess.run(["git", "archive", OLDER], cwd=REPOSITORY, capture_output=True, timeout=60, check=False)
    if packed.returncode != 0:
        why = f"no history with the commit {OLDER}: {packed.stderr.decode().strip()}"
        if not (REPOSITORY / ".git").exists():
            pytest.skip(f"this is no checkout, so it has {why}")
        pytest.fail(f"this checkout has {why}\nNext step: git fetch --unshallow")
    folder = tmp_path_factory.mktemp("older")
    with tarfile.open(fileobj=io.BytesIO(packed.stdout)) as archive:
        archive.extractall(folder, filter="data")
    assert not (folder / "bulk").exists()
    return folder


def of(folder: Path, process: Process) -> Process:
    process.run_code_of(folder)
    return process


@pytest.mark.timeout(900)
def test_releases_take_over_from_each_other_and_lose_nothing(make_site: MakeSite, seed: int, older: Path) -> None:
    site: Site = make_site(workers=1)
    newer = (site.bridge, site.worker)
    # it has no command of its own for workers yet
    before = (of(older, site.add_bridge()), of(older, site.add_worker((*CELERY, "worker"))))
    load = Load(seed, 1_500).prepare(site)
    site.run(*before)
    with load.keep_busy(site, 500):
        site.wait_working(before[1], WORK)
        # forth, with a while side by side in which either may have to take over from the other
        site.run(*newer)
        site.wait_working(newer[1], WORK)
        for worker in (before[1], newer[1]):
            site.kill(worker)
            site.wait_working(worker, WORK)
        site.stop(*before)
        site.wait_working(newer[1], WORK)
        # and back; what only the newer one can read waits for it, so it is there at the end
        site.run(*before)
        site.wait_working(before[1], WORK)
        site.stop(*newer)
        site.kill(before[0])
        site.wait_working(before[1], WORK)
        load.observe(site)
        site.run(*newer)
    site.stop(*before)
    # where the older release closes the last open offset of a partition, what is noted beside these stays until this
    # one does
    site.send(*(new_learner() for _ in range(20)))
    site.wait_settled(240)
    load.verdict(site).check()
    assert site.restarts.total() == 0
    # the default of its own settings: it is the older code that ran
    assert "group_size=25 " in before[0].output()
