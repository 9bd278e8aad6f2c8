"""Each version of Cassandra has a lock and data of its own, and no other version can be asked for."""

import subprocess
import sys
from pathlib import Path

import pytest

from devstack.cassandra import VERSIONS, CassandraServer
from devstack.errors import DevstackError
from devstack.locking import ROOTS, lock_file
from devstack.maven import read_lock
from devstack.ports import Ports
from devstack.server import Place
from devstack.stack import Stack


def test_every_root_has_a_lock_that_holds_it() -> None:
    for packages, roots in ROOTS.items():
        assert set(roots) <= {jar.coordinates for jar in read_lock(lock_file(packages))}
    assert {"cassandra", *(f"cassandra-{version}" for version in VERSIONS[1:])} <= set(ROOTS)


def test_versions_do_not_share_data(tmp_path: Path) -> None:
    place = Place(tmp_path, tmp_path, Ports())
    folders = {CassandraServer(place, version=version)._data for version in VERSIONS}
    assert len(folders) == len(VERSIONS)


def test_another_version_is_refused_with_what_there_is(tmp_path: Path) -> None:
    environment = {"DEVSTACK_DIR": str(tmp_path), "DEVSTACK_CASSANDRA": "3.11"}
    with pytest.raises(DevstackError, match=r"3\.11.*\n?.*5\.0, 4\.1"):
        Stack.from_environment(environment)
    ended = subprocess.run(
        [sys.executable, "-m", "devstack", "up", "--cassandra", "3.11"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ended.returncode == 2
    assert "'5.0', '4.1'" in ended.stderr
