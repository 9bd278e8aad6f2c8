"""The audit says what is known, or plainly that it could not look; the bill of materials is the locks'."""

import json
import re
import threading
import tomllib
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from inventory import audit, bill
from inventory.advisories import look_up
from inventory.locks import EVERYTHING, RUNTIME, LockError, Package, read_lock

ROOT = Path(__file__).parents[2]
LOCK = """\
# made by uv
celery[redis]==5.7.0 \\
    --hash=sha256:{0} \\
    --hash=sha256:{1}
    # via
    #   -c requirements.txt
    #   enrolment-reconciliation (pyproject.toml)
    #   Flower
colorama==0.4.6 ; sys_platform == 'win32' \\
    --hash=sha256:{0}
    # via click
""".format("a" * 64, "b" * 64)

Answer = Callable[[dict[str, Any]], object]


@contextmanager
def osv(answer: Answer, code: int = 200) -> Iterator[str]:
    """Serve OSV's questions; gives the address."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            assert self.path == "/v1/querybatch"
            told = json.dumps(answer(asked)).encode()
            self.send_response(code)
            self.send_header("Content-Length", str(len(told)))
            self.end_headers()
            self.wfile.write(told)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def nothing(asked: dict[str, Any]) -> object:
    return {"results": [{} for _ in asked["queries"]]}


def test_a_lock_is_read(tmp_path: Path) -> None:
    lock = tmp_path / "requirements.txt"
    lock.write_text(LOCK)
    celery, colorama = read_lock(lock)
    assert celery == Package("celery", "5.7.0", ("a" * 64, "b" * 64), frozenset({"flower", "enrolment-reconciliation"}))
    assert colorama == Package("colorama", "0.4.6", ("a" * 64,), frozenset({"click"}))


@pytest.mark.parametrize("text", ["", "# nothing\n", "celery>=5\n", "-e .\n", "celery @ file:///x\n"])
def test_a_lock_that_pins_something_else_is_refused(tmp_path: Path, text: str) -> None:
    lock = tmp_path / "requirements.txt"
    lock.write_text(text)
    with pytest.raises(LockError, match=r"requirements\.txt"):
        read_lock(lock)


def test_our_locks_pin_every_package_by_its_hash() -> None:
    everything, runtime = read_lock(EVERYTHING), read_lock(RUNTIME)
    assert {package.name for package in runtime} < {package.name for package in everything}
    assert all(package.hashes for package in everything + runtime)
    assert all(package.wanted_by for package in everything + runtime)


def test_the_service_is_asked_for_every_locked_version(capsys: pytest.CaptureFixture[str]) -> None:
    questions: list[dict[str, Any]] = []

    def answer(asked: dict[str, Any]) -> object:
        questions.extend(asked["queries"])
        return nothing(asked)

    with osv(answer) as address:
        assert audit.main(["--service", address]) == audit.NOTHING_KNOWN
    assert {(it["package"]["name"], it["version"]) for it in questions} == {
        (package.name, package.version) for package in read_lock(EVERYTHING)
    }
    assert {it["package"]["ecosystem"] for it in questions} == {"PyPI"}
    assert "something is known against 0 of them" in capsys.readouterr().out


def test_what_is_known_is_told_page_after_page(capsys: pytest.CaptureFixture[str]) -> None:
    def answer(asked: dict[str, Any]) -> object:
        results = []
        for query in asked["queries"]:
            if query["package"]["name"] != "celery":
                results.append({})
            elif query.get("page_token") == "2":
                results.append({"vulns": [{"id": "GHSA-second"}]})
            else:
                results.append({"vulns": [{"id": "GHSA-first"}], "next_page_token": "2"})
        return {"results": results}

    with osv(answer) as address:
        assert audit.main(["--runtime", "--service", address]) == audit.SOMETHING_KNOWN
    told = capsys.readouterr().out
    assert re.search(r"^celery [\d.]+: https://osv\.dev/vulnerability/GHSA-first$", told, re.MULTILINE)
    assert "GHSA-second" in told
    assert "against 1 of them" in told


def test_a_service_that_never_comes_to_an_end_is_left() -> None:
    def answer(asked: dict[str, Any]) -> object:
        return {"results": [{"next_page_token": "again"} for _ in asked["queries"]]}

    with osv(answer) as address:
        assert audit.main(["--service", address]) == audit.NOT_LOOKED


@pytest.mark.parametrize(
    ("answer", "code"),
    [(nothing, 503), (lambda _: {"results": []}, 200), (lambda _: [], 200), (lambda _: {}, 200), (lambda _: 7, 200)],
)
def test_what_could_not_be_looked_up_is_never_told_as_well(
    answer: Answer, code: int, capsys: pytest.CaptureFixture[str]
) -> None:
    with osv(answer, code) as address:
        assert audit.main(["--service", address]) == audit.NOT_LOOKED
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("NOT AUDITED: ")
    assert "Next step: " in captured.err


def test_a_service_that_is_away_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    with osv(nothing) as address:
        pass
    assert audit.main(["--service", address]) == audit.NOT_LOOKED
    assert "can't be reached from here" in capsys.readouterr().err


def advisory(name: str = "Some_Package", **affected: object) -> dict[str, Any]:
    package = {"ecosystem": "PyPI", "name": name}
    return {"id": "PYSEC-1", "affected": [{"package": package, **affected}]}


def events(*found: tuple[str, str], kind: str = "ECOSYSTEM") -> dict[str, object]:
    return {"ranges": [{"type": kind, "events": [{what: version} for what, version in found]}]}


def database(folder: Path, *records: object) -> Path:
    path = folder / "all.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for number, record in enumerate(records):
            archive.writestr(f"{number}.json", json.dumps(record))
    return path


@pytest.mark.parametrize(
    ("record", "is_hit"),
    [
        (advisory(versions=["1.9", "1.10"]), True),
        (advisory(versions=["1.9"]), False),
        (advisory(**events(("introduced", "0"))), True),
        (advisory(**events(("introduced", "0"), ("fixed", "1.10"))), False),
        (advisory(**events(("introduced", "0"), ("fixed", "1.11"))), True),
        (advisory(**events(("introduced", "1.2"), ("last_affected", "1.10"))), True),
        (advisory(**events(("introduced", "1.2"), ("last_affected", "1.9"))), False),
        (advisory(**events(("introduced", "2"))), False),
        (advisory(**events(("introduced", "0"), ("fixed", "1.5"), ("introduced", "1.9"), ("fixed", "1.12"))), True),
        (advisory(**events(("introduced", "0"), kind="GIT")), False),
        (advisory("other", versions=["1.10"]), False),
        ({**advisory(versions=["1.10"]), "withdrawn": "2026-01-01T00:00:00Z"}, False),
        (
            {"id": "X", "affected": [{"package": {"ecosystem": "npm", "name": "some-package"}, "versions": ["1.10"]}]},
            False,
        ),
        ({"id": "X"}, False),
    ],
)
def test_a_copy_of_the_database_is_read_as_its_schema_says(tmp_path: Path, record: object, *, is_hit: bool) -> None:
    package, other = Package("some-package", "1.10"), Package("some-package", "3.0")
    known = look_up([package, other], database(tmp_path, record))
    assert known.get(package, []) == (["PYSEC-1"] if is_hit else [])


def test_the_audit_works_without_a_network(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = database(tmp_path, advisory("celery", **events(("introduced", "0"))))
    assert audit.main(["--database", str(path)]) == audit.SOMETHING_KNOWN
    assert "celery" in capsys.readouterr().out


@pytest.mark.parametrize("content", [b"", b"no archive", None])
def test_a_copy_that_is_none_is_told(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "all.zip"
    if content is not None:
        path.write_bytes(content)
    assert audit.main(["--database", str(path)]) == audit.NOT_LOOKED


def test_an_empty_copy_is_no_word_on_the_packages(tmp_path: Path) -> None:
    assert audit.main(["--database", str(database(tmp_path))]) == audit.NOT_LOOKED
    assert audit.main(["--database", str(database(tmp_path, [1]))]) == audit.NOT_LOOKED


def test_the_bill_lists_what_is_locked(tmp_path: Path) -> None:
    first, second = tmp_path / "new" / "bill.json", tmp_path / "again.json"
    assert bill.main(["--output", str(first)]) == bill.main(["--output", str(second)]) == 0
    assert first.read_bytes() == second.read_bytes()
    made = json.loads(first.read_text())
    assert (made["bomFormat"], made["specVersion"]) == ("CycloneDX", "1.6")
    assert re.fullmatch(r"urn:uuid:[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", made["serialNumber"])
    components = {(it["name"], it["version"]): it for it in made["components"]}
    assert set(components) == {(package.name, package.version) for package in read_lock(EVERYTHING)}
    required = {pin for pin, it in components.items() if it["scope"] == "required"}
    assert required == {(package.name, package.version) for package in read_lock(RUNTIME)}
    # each is reached from the product, by the names that the list itself uses
    edges = {it["ref"]: it["dependsOn"] for it in made["dependencies"]}
    reached, waiting = set(), [made["metadata"]["component"]["bom-ref"]]
    while waiting:
        reference = waiting.pop()
        if reference not in reached:
            reached.add(reference)
            waiting += edges[reference]
    version = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
    product = f"enrolment-reconciliation@{version}"
    assert reached == set(edges) == {it["bom-ref"] for it in components.values()} | {product}


def test_the_bill_names_no_server(tmp_path: Path) -> None:
    path = tmp_path / "bill.json"
    bill.main(["--output", str(path)])
    text = path.read_text()
    assert "://" not in text
    assert not re.search(r"\b[\w-]+\.(org|com|net|io|dev|internal|local)\b", text)
