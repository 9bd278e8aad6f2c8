"""`replay`: what was given up, back to the input topic and to its end."""

import json
import re
import signal
import subprocess
import time
from collections.abc import Iterator, Sequence
from random import Random

import pytest

from devstack.ports import free_port
from reconciliation.model import FinalFailure, Origin, OutgoingEvent, Record
from reconciliation.requests import REPEATED_HEADER
from tests.integration.commands.support import COMMAND, SETTINGS, enrol, fail, give_course, publish
from tests.integration.conftest import MakeInstallation
from tests.support.checks import check_announced_once
from tests.support.events import encoded, sync_event
from tests.support.installation import Ended, Installation, new_learner, unique
from tests.support.kafka import TopicReader, limit_messages
from tests.support.kafka_proxy import KafkaProxy
from tests.support.tables import Learner
from tests.support.waiting import wait_until


@pytest.fixture
def idle(make_installation: MakeInstallation) -> Iterator[Installation]:
    with make_installation(SETTINGS) as made:
        yield made


@pytest.fixture
def requests(idle: Installation) -> Iterator[TopicReader]:
    reader = TopicReader(idle.ports.bootstrap, idle.input_topic)
    yield reader
    reader.close()


def now_ms() -> int:
    return time.time_ns() // 1_000_000


def record(
    installation: Installation,
    offset: int,
    value: bytes | None,
    *,
    key: bytes | None = b"key",
    timestamp_ms: int = 1_000,
) -> Record:
    return Record(Origin(installation.input_topic, 0, offset, timestamp_ms), key, value)


def given_up(
    installation: Installation, learners: Sequence[Learner], reason: str = "RELATIONS_MISSING", first: int = 0
) -> None:
    """Lay failed events of these learners' requests on the failed topic, which lay at the offsets from `first` on."""
    failure = FinalFailure(reason, "why", 6, now_ms())
    publish(
        installation,
        [
            fail(installation, record(installation, n, encoded(sync_event(it)), key=it.user.encode()), failure)
            for n, it in enumerate(learners, first)
        ],
    )


def test_given_up_requests_are_replayed_to_completion_once_the_cause_is_mended(
    make_installation: MakeInstallation,
) -> None:
    with make_installation(SETTINGS) as site:
        site.start()
        learners = [new_learner() for _ in range(12)]
        enrol(site, *learners)
        sent = site.send(*learners)
        site.wait_settled()
        wait_until("all are given up", lambda: len(site.failed.records()) == 12)
        # replayed before the cause is mended they are given up again, which is the same requests' second failure
        out = site.operate("replay", "--reason", "RELATIONS_MISSING", "--yes")
        assert f"sent 12 of 12 to {site.input_topic}" in out
        wait_until("all are given up again", lambda: len(site.failed.records()) == 24)
        site.wait_settled()

        give_course(site, *learners)
        planned = json.loads(site.operate("replay", "--all", "--dry-run", "--json"))
        assert (planned["planned"], planned["repeats"], planned["sent"]) == (12, 12, 0)
        out = site.operate("replay", "--all", "--yes")
        assert f"sent 12 of 12 to {site.input_topic}" in out
        assert "12 left out: other failures of requests that are sent anyway" in out
        site.wait_settled()
        for learner in learners:
            check_announced_once(site, learner)
        requests = TopicReader(site.ports.bootstrap, site.input_topic)
        replays = [it for it in requests.records() if REPEATED_HEADER in it.headers]
        requests.close()
        # the second replay names where the request was first sent, and when
        firsts = {json.dumps([site.input_topic, it.partition, it.offset, it.timestamp_ms]) for it in sent}
        assert {json.dumps(json.loads(it.headers[REPEATED_HEADER])) for it in replays} == firsts
        assert len(replays) == 24
        by_key = {learner.user.encode(): place for learner, place in zip(learners, sent, strict=True)}
        assert all(
            it.headers["original-timestamp"] == str(by_key[it.key or b""].timestamp_ms).encode() for it in replays
        )

        # what is answered already is not announced again, however often it comes
        site.operate("replay", "--all", "--yes")
        site.wait_settled()
        for learner in learners:
            check_announced_once(site, learner)


def test_ten_thousand_events_of_three_reasons(idle: Installation, requests: TopicReader) -> None:
    prefix = unique("user")
    learners = [Learner(f"{prefix}-{n}", f"do_{n % 5}", "b") for n in range(9_000)]
    given_up(idle, learners[:5_000])
    # the same requests, failed once more for another reason
    given_up(idle, learners[4_000:5_000], "REQUEST_FAILED", first=4_000)
    publish(
        idle,
        [
            fail(idle, record(idle, 100_000 + n, b"not json"), FinalFailure("INVALID_REQUEST", "why", 1, now_ms()))
            for n in range(4_000)
        ],
    )
    out = idle.operate("replay", "--all", "--dry-run")
    assert "RELATIONS_MISSING │ 5000" in out
    assert "left out: INVALID_REQUEST, which would only come back" in out
    assert requests.records() == []
    out = json.loads(idle.operate("replay", "--all", "--yes", "--rate", "100000", "--json"))
    assert (out["planned"], out["sent"], out["repeats"], out["leftOutInvalid"]) == (5_000, 5_000, 1_000, 4_000)
    keys = [it.key for it in requests.records()]
    assert sorted(keys, key=str) == sorted((it.user.encode() for it in learners[:5_000]), key=str)


def test_originals_come_back_byte_for_byte(idle: Installation, requests: TopicReader) -> None:
    values = [
        b"not json \x00",
        b"\xff\x00\xfe raw",
        b'{"n":1e400,"a":1,"a":2,"\\u0061":"\\/","deep":[[[]]]}',
        b"{}",
        b'{"edata":{"action":"other"}}',
    ]
    failure = FinalFailure("INVALID_REQUEST", "why", 1, now_ms())
    publish(idle, [fail(idle, record(idle, n, value, key=value[:3]), failure) for n, value in enumerate(values)])
    left_out = idle.operate("replay", "--all", "--yes")
    assert "nothing to send" in left_out
    assert "5 left out: INVALID_REQUEST" in left_out
    assert requests.records() == []
    idle.operate("replay", "--reason", "invalid_request", "--yes")
    assert sorted((it.key, it.value) for it in requests.records()) == sorted((value[:3], value) for value in values)


def test_what_was_cut_is_listed_and_makes_it_fail(idle: Installation, requests: TopicReader) -> None:
    learner = new_learner()
    large = Random(1).randbytes(300_000)
    failure = FinalFailure("REQUEST_FAILED", "why", 6, now_ms())
    publish(
        idle,
        [
            fail(idle, record(idle, 0, large), failure, 200_000),
            fail(idle, record(idle, 1, encoded(sync_event(learner))), failure),
            OutgoingEvent(idle.failed_topic, b"k", b"somebody else's"),
            fail(idle, record(idle, 2, None), failure),
        ],
    )
    ended = idle.run_command("replay", "--all", "--yes")
    assert ended.returncode == 1
    assert f"sent 1 of 1 to {idle.input_topic}" in ended.stdout
    assert "carries only the start of its original" in ended.stderr
    assert "no failed event of this job" in ended.stderr
    assert "the original had no value" in ended.stderr
    assert ended.stderr.splitlines()[-1] == ("error: 3 can't be sent back; what is left of them is on the failed topic")
    (sent,) = requests.records()
    assert sent.event == sync_event(learner)
    assert idle.run_command("replay", "--all", "--dry-run").returncode == 1


def test_one_that_the_input_topic_takes_no_more_is_listed_too(idle: Installation, requests: TopicReader) -> None:
    small, large = new_learner(), new_learner()
    noise = Random(1).randbytes(40_000).hex()
    values = [encoded(sync_event(small)), encoded({**sync_event(large), "notes": noise})]
    failure = FinalFailure("REQUEST_FAILED", "why", 6, now_ms())
    publish(idle, [fail(idle, record(idle, n, value), failure) for n, value in enumerate(values)])
    limit_messages(idle.ports.bootstrap, idle.input_topic, 20_000)
    ended = idle.run_command("replay", "--all", "--yes")
    assert ended.returncode == 1
    assert f"user {large.user}" in ended.stderr
    assert "does not take an event of this size" in ended.stderr
    assert "error: 1 can't be sent back" in ended.stderr
    assert [it.event for it in requests.records()] == [sync_event(small)]


def test_it_asks_first_and_wants_a_selection(idle: Installation, requests: TopicReader) -> None:
    given_up(idle, [new_learner()])
    assert idle.run_command("replay").returncode == 2
    assert "--all" in idle.run_command("replay", "--yes").stderr
    # nobody is there to answer
    ended = idle.run_command("replay", "--all")
    assert ended.returncode == 1
    assert f"Send 1 to {idle.input_topic}? [y/N]" in ended.stderr
    assert requests.records() == []
    assert "nothing to send" in idle.operate("replay", "--user", "nobody", "--yes")


def test_a_limit_sends_those_that_failed_first(idle: Installation, requests: TopicReader) -> None:
    learners = [new_learner() for _ in range(6)]
    publish(
        idle,
        [
            fail(
                idle,
                record(idle, n, encoded(sync_event(it)), key=it.user.encode()),
                FinalFailure("REQUEST_FAILED", "why", 6, now_ms() - n * 600_000),
            )
            for n, it in enumerate(learners)
        ],
    )
    out = idle.operate("replay", "--all", "--limit", "2", "--yes")
    assert "4 left out: beyond --limit" in out
    assert {it.key for it in requests.records()} == {it.user.encode() for it in learners[4:]}
    idle.operate("replay", "--since", "15m", "--yes")
    assert {it.key for it in requests.records()} == {it.user.encode() for it in (*learners[:2], *learners[4:])}


def test_it_does_not_run_after_what_it_causes_itself(make_installation: MakeInstallation) -> None:
    with make_installation({**SETTINGS, "RETRY_ATTEMPTS": "1"}) as site:
        site.start()
        learners = [new_learner() for _ in range(40)]
        enrol(site, *learners)
        given_up(site, learners)
        # so slow that the first fail again while the last are still to be sent
        out = site.operate("replay", "--all", "--yes", "--rate", "8")
        assert f"sent 40 of 40 to {site.input_topic}" in out
        wait_until("all failed again", lambda: len(site.failed.records()) == 80)
        site.wait_settled()
        requests = TopicReader(site.ports.bootstrap, site.input_topic)
        assert len(requests.records()) == 40
        requests.close()


def interrupted(command: "subprocess.Popen[str]") -> Ended:
    command.send_signal(signal.SIGINT)
    out, err = command.communicate(timeout=40)
    return Ended(command.args, command.returncode, out, err)


def test_ctrl_c_says_how_many_were_sent(idle: Installation, requests: TopicReader) -> None:
    given_up(idle, [new_learner() for _ in range(400)])
    command = subprocess.Popen(
        [COMMAND, "replay", "--all", "--yes", "--rate", "20"],
        env=idle.settings,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    wait_until("some are sent", lambda: len(requests.records()) >= 10)
    ended = interrupted(command)
    sent = len(requests.records())
    assert 10 <= sent < 400
    assert ended.returncode == 1
    assert ended.stderr == (
        f"error: interrupted: {sent} of 400 were sent and confirmed; the same call may be repeated: what was sent "
        "already is known as repeated, and announced once\n"
    )
    # as it says
    idle.operate("replay", "--all", "--yes", "--rate", "10000")
    keys = {it.key for it in requests.records()}
    assert len(keys) == 400
    assert len(requests.records()) == sent + 400


def test_a_kafka_that_goes_away_meanwhile_ends_it_with_the_count(idle: Installation, requests: TopicReader) -> None:
    given_up(idle, [new_learner() for _ in range(400)])
    with KafkaProxy(idle.ports.kafka) as proxy:
        command = subprocess.Popen(
            [COMMAND, "replay", "--all", "--yes", "--rate", "10"],
            env={**idle.settings, "KAFKA_BROKER_SERVERS": proxy.bootstrap, "KAFKA_TIMEOUT": "10"},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        wait_until("some are sent", lambda: len(requests.records()) >= 10)
        proxy.is_cut = True
        proxy.cut()
        began = time.monotonic()
        out, err = command.communicate(timeout=120)
    assert command.returncode == 3, (out, err)
    assert time.monotonic() - began < 60
    assert err.count("\n") == 1, err
    assert err.startswith("error: Kafka ")
    told = re.search(r"; (\d+) of 400 were sent and confirmed(?:, (\d+) more may have been)?; the same call may", err)
    assert told is not None, err
    confirmed, unconfirmed = int(told[1]), int(told[2] or 0)
    assert 10 <= confirmed <= len(requests.records()) <= confirmed + unconfirmed < 400


def test_a_kafka_that_is_away_is_told_in_one_line(idle: Installation) -> None:
    away = {"KAFKA_BROKER_SERVERS": f"127.0.0.1:{free_port()}", "KAFKA_TIMEOUT": "1"}
    began = time.monotonic()
    ended = idle.run_command("replay", "--all", "--yes", settings=away)
    assert (ended.returncode, ended.stderr.count("\n")) == (3, 1)
    assert "KAFKA_BROKER_SERVERS" in ended.stderr
    assert time.monotonic() - began < 20
    for variable in ("KAFKA_INPUT_TOPIC", "KAFKA_OUTPUT_FAILED_TOPIC"):
        ended = idle.run_command("replay", "--all", "--yes", settings={variable: "no.such.topic"})
        assert (ended.returncode, ended.stderr.count("\n")) == (2, 1)
        assert f"({variable}) is no.such.topic" in ended.stderr
