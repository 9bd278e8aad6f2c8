"""How a run's files are ordered, and shared out among its processes."""

from collections.abc import Iterable
from pathlib import PurePath

from xdist.scheduler import LoadScopeScheduling

#: Folders whose tests have servers besides those of the run: one process has all of a folder's files, and these are
#: started once. They come first, while the others' work lasts, and the servers end with the folder.
OWN_SERVERS = ("protocol", "secured", "versions")


def in_turn(files: Iterable[PurePath]) -> dict[PurePath, float]:
    """Give each file, by its path within tests, its place: those of all folders come in turn.

    Some folders' tests keep the processors busy, others' wait most of their time.
    """
    folders: dict[str, list[PurePath]] = {}
    for file in dict.fromkeys(files):
        folders.setdefault(file.parts[0], []).append(file)
    return {
        file: _begins(folder) + place / len(own) for folder, own in folders.items() for place, file in enumerate(own)
    }


def share_of(node_id: str) -> str:
    """Name what a test, by its pytest id, is given to a process together with: its file, or its whole folder."""
    file = PurePath(node_id.partition("::")[0])
    folder = file.parts[1] if file.parts[0] == "tests" else ""
    return f"tests/{folder}" if folder in OWN_SERVERS else str(file)


class Sharing(LoadScopeScheduling):
    """Gives out files, and folders that have servers of their own."""

    def _split_scope(self, nodeid: str) -> str:
        return share_of(nodeid)


def _begins(folder: str) -> int:
    return OWN_SERVERS.index(folder) - len(OWN_SERVERS) if folder in OWN_SERVERS else 0
