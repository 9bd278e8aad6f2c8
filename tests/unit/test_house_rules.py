"""Rules of CONTRIBUTING.md that neither ruff nor mypy knows, held over the whole source."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PARTS = ("bridge", "bulk", "commands", "ledger", "reconciliation", "tasks", "worker")
BESIDE = ("benchmarks", "demo", "devstack", "inventory", "tests")
LEVELS = frozenset({"debug", "info", "warning", "error", "exception", "critical"})

#: A rule that is silenced, without a reason behind it.
_BARE = re.compile(r"# (?:noqa: [A-Z0-9, ]+|type: ignore\[[\w, -]+\])\s*$", re.MULTILINE)


def sources(*folders: str) -> list[Path]:
    return sorted([*ROOT.glob("*.py"), *(path for folder in folders for path in (ROOT / folder).rglob("*.py"))])


def logged(path: Path) -> Iterator[str]:
    """Give the sentence of each call that logs one, as it stands in the source."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        match node:
            case ast.Call(
                func=ast.Attribute(value=ast.Name(id="log"), attr=level), args=[ast.Constant(value=str(sentence)), *_]
            ) if level in LEVELS:
                yield sentence


def test_log_lines_begin_small_and_end_without_a_full_stop() -> None:
    sentences = {sentence for path in sources(*PARTS) for sentence in logged(path)}
    assert len(sentences) > 50
    # servers keep their names
    spelled = [it.removeprefix("Kafka").removeprefix("Cassandra") for it in sorted(sentences)]
    assert [it for it in spelled if it.endswith(".") or it[0].isupper()] == []


def test_what_is_silenced_has_its_reason_beside_it() -> None:
    texts = {str(path.relative_to(ROOT)): path.read_text(encoding="utf-8") for path in sources(*PARTS, *BESIDE)}
    assert len(texts) > 300
    assert {path: found for path, text in texts.items() if (found := _BARE.findall(text))} == {}
