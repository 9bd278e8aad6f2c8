"""How a test run's files are shared out: servers that only one folder has are started once, and early."""

from pathlib import PurePath

from tests.support.sharing import in_turn, share_of


def test_a_folder_with_servers_of_its_own_is_one_share() -> None:
    assert share_of("tests/secured/test_cassandra.py::test_a[x::y]") == "tests/secured"
    assert share_of("tests/secured/test_sentinel.py::test_b") == "tests/secured"
    assert share_of("tests/versions/test_whole_flow.py::test_c") == "tests/versions"


def test_any_other_file_is_a_share() -> None:
    assert share_of("tests/faults/test_poison.py::test_a") == "tests/faults/test_poison.py"
    assert share_of("tests/integration/bridge/test_x.py::test_a") == "tests/integration/bridge/test_x.py"


def test_folders_with_servers_of_their_own_come_first_and_whole_and_the_others_in_turn() -> None:
    names = ["bulk/a", "bulk/b", "faults/a", "faults/b", "secured/a", "secured/b", "versions/a", "versions/b"]
    files = [PurePath(f"{name}.py") for name in names]
    places = in_turn(files)
    ordered = sorted(files, key=lambda file: (places[file], file))
    assert [str(file.with_suffix("")) for file in ordered] == [
        *("secured/a", "secured/b", "versions/a", "versions/b"),
        *("bulk/a", "faults/a", "bulk/b", "faults/b"),
    ]
