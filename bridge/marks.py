"""What each commit on Kafka carries as its metadata: how far to go back when the ledger's Redis forgot something.

Pure; see docs/reliability.md, "What Redis must be".
"""

import json
from dataclasses import dataclass

from ledger.ledger import Identity

_VERSION = 1


@dataclass(frozen=True, slots=True)
class CommitMark:
    """The ledger's state behind one commit of one partition.

    `identity` is the life of the ledger that held the requests. `oldest` is the lowest offset that was still open then,
    None where none was. Records below `repeated_below` may have been answered before, though they are read again; None
    says that there are none such.
    """

    identity: Identity
    oldest: int | None
    repeated_below: int | None = None

    def encode(self) -> str:
        """Write the mark as a commit's metadata (JSON, far below Kafka's limit of 4096 bytes)."""
        fields: dict[str, object] = {
            "v": _VERSION,
            "epoch": self.identity.epoch,
            "run": self.identity.run_id,
            "oldest": self.oldest,
        }
        if self.repeated_below is not None:
            fields["repeated"] = self.repeated_below
        if self.identity.rewind:
            fields["rewind"] = self.identity.rewind
        return json.dumps(fields, separators=(",", ":"))


def decode_mark(metadata: str | None) -> CommitMark | None:
    """Read a commit's metadata; None where somebody else committed, or a release whose marks we don't know."""
    try:
        fields = json.loads(metadata or "")
    except ValueError:
        return None
    match fields:
        case {"v": 1, "epoch": str(epoch), "run": str(run_id), "oldest": int() | None as oldest}:
            repeated, rewind = fields.get("repeated"), fields.get("rewind")
            identity = Identity(epoch, run_id, rewind if isinstance(rewind, str) else "")
            return CommitMark(identity, oldest, repeated if isinstance(repeated, int) else None)
        case _:
            return None
