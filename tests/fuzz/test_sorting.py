"""No record breaks the bridge: hypothesis looks for one, and so does a generator that knows nothing of hypothesis.

`FUZZ_EXAMPLES=300000` looks longer; `python -m tests.fuzz.run --count 1000000` is the other's long run.
"""

import json
import os
import subprocess
import sys
from dataclasses import replace

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

import reconciliation.requests
from reconciliation.failed_event import failed_event
from reconciliation.model import FinalFailure, Origin, OutgoingEvent, Record
from tests.fuzz import judge as judging
from tests.fuzz.generator import make_record
from tests.fuzz.judge import Ending, judge
from tests.fuzz.run import run

#: How many examples the search takes; a thousand take some seconds.
EXAMPLES = int(os.environ.get("FUZZ_EXAMPLES") or 3_000)
RECORDS = 20_000

names = st.sampled_from(["edata", "action", "userId", "courseId", "batchId", "jobName", "failInfo", "eid"]) | st.text(
    st.characters(), max_size=5
)
numbers = st.one_of(
    st.integers().map(str),
    st.floats().map(repr),
    st.sampled_from(["-0", "NaN", "Infinity", "1e999", "-1e-999", "9" * 5000, "01", "1.", "1e"]),
)
strings = st.one_of(
    st.text(st.characters(), max_size=20).map(json.dumps),
    st.text(max_size=20).map(lambda text: json.dumps(text, ensure_ascii=False)),
    st.text(max_size=20).map(lambda text: f'"{text}"'),
    st.integers(1000, 1050).map(lambda length: '"' + "x" * length + '"'),
    st.sampled_from(['"user-enrolment-sync"', '" "', '""', '"\\ud800"', '"\\u0000"']),
)


def objects(contents: st.SearchStrategy[str], most: int = 6) -> st.SearchStrategy[str]:
    """Objects as text: names may come twice."""
    pairs = st.tuples(names.map(json.dumps), contents).map(":".join)
    return st.lists(pairs, max_size=most).map(lambda members: "{" + ",".join(members) + "}")


any_json = st.recursive(
    numbers | strings | st.sampled_from(["null", "true", "false"]),
    lambda inner: objects(inner, 3) | st.lists(inner, max_size=3).map(lambda items: "[" + ",".join(items) + "]"),
    max_leaves=8,
)
ours = st.builds(
    lambda user, course, batch, more: (
        f'{{"edata":{{"action":"user-enrolment-sync","userId":{user},"courseId":{course},"batchId":{batch}{more}}}}}'
    ),
    strings,
    strings,
    strings,
    st.just("") | st.builds(lambda name, content: f",{json.dumps(name)}:{content}", names, any_json),
)
nested = st.builds(
    lambda depth, opening, inner: opening * depth + inner,
    st.sampled_from([10, 900, 990, 1000, 1010, 10_000]),
    st.sampled_from(["[", '{"a":', '{"edata":']),
    any_json,
)
texts = st.one_of(any_json, ours, objects(any_json), nested)
values = st.one_of(
    st.none(),
    st.binary(max_size=200),
    texts.map(lambda text: text.encode("utf-8", "surrogatepass")),
    st.tuples(texts, st.sampled_from(["utf-16", "utf-32-be", "utf-8-sig", "utf-7", "cp037"])).map(
        lambda made: made[0].encode(made[1], "ignore")
    ),
    st.tuples(ours, st.binary(max_size=3), st.integers(0, 150)).map(
        lambda made: made[0].encode("utf-8", "surrogatepass")[: made[2]] + made[1]
    ),
)
headers = st.lists(
    st.tuples(
        st.sampled_from(["enrolment-reconciliation-repeated", "original-timestamp", "original-offset", "ü", ""])
        | st.text(max_size=10),
        st.none() | st.binary(max_size=20) | st.integers().map(lambda number: str(number).encode()),
    ),
    max_size=5,
).map(tuple)
records = st.builds(
    Record,
    st.builds(Origin, st.just("topic"), st.integers(0, 9), st.integers(0, 2**63 - 1), st.integers(0, 2**53)),
    st.none() | st.binary(max_size=50) | st.just(b"k" * 20_000),
    values,
    headers,
)


@pytest.mark.timeout(86_400 if "FUZZ_EXAMPLES" in os.environ else 300)
@settings(max_examples=EXAMPLES)
@given(records)
@example(Record(Origin("topic", 0, 0, 0), None, None))
@example(Record(Origin("topic", 0, 0, 0), b"key", b"{", (("trace", b"x"),) * 3000))
def test_every_record_ends_as_a_request_a_skip_or_a_failed_event(record: Record) -> None:
    judge(record)


def test_a_generator_of_another_kind_finds_nothing_either() -> None:
    report = run(RECORDS, seed=int(os.environ["FAULT_SEED"]))

    assert report.harmful == []
    # and it does not only make what is refused at the first byte
    assert all(report.endings[ending] > RECORDS // 20 for ending in Ending)


def test_a_record_is_made_again_by_its_number() -> None:
    assert make_record(7, 4_711) == make_record(7, 4_711)
    assert make_record(7, 4_711) != make_record(8, 4_711)


def _break_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reconciliation.requests, "LONGEST_ID_BYTES", 10**9)


def _break_json(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reconciliation.requests, "_refuse_constant", float)


def _break_size(monkeypatch: pytest.MonkeyPatch) -> None:
    def too_large(record: Record, failure: FinalFailure, topic: str, max_bytes: int) -> OutgoingEvent:
        return failed_event(record, failure, topic, max_bytes + 100_000)

    monkeypatch.setattr(judging, "failed_event", too_large)


def _break_original(monkeypatch: pytest.MonkeyPatch) -> None:
    def altered(record: Record, failure: FinalFailure, topic: str, max_bytes: int) -> OutgoingEvent:
        return failed_event(replace(record, value=(record.value or b"")[:50]), failure, topic, max_bytes)

    monkeypatch.setattr(judging, "failed_event", altered)


@pytest.mark.parametrize("break_it", [_break_limit, _break_json, _break_size, _break_original])
def test_the_judge_sees_harm(monkeypatch: pytest.MonkeyPatch, break_it: object) -> None:
    assert callable(break_it)
    break_it(monkeypatch)

    assert run(5_000, seed=1).harmful != []


def test_the_command_ends_with_a_table() -> None:
    command = [sys.executable, "-m", "tests.fuzz.run", "--count", "50", "--seed", "3"]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)

    assert ended.returncode == 0
    lines = dict(line.rsplit(maxsplit=1) for line in ended.stdout.splitlines() if not line.startswith("slowest"))
    assert lines["harmful"] == "0"
    assert sum(int(lines[ending]) for ending in Ending if ending in lines) == 50
