"""Each wrong password, authority and protocol is told in a clear line and waited for; nothing is given up for it."""

import json
from collections.abc import Callable

import pytest
from confluent_kafka.admin import (  # type: ignore[attr-defined]  # its own list of names leaves some out
    AdminClient,
    ScramCredentialInfo,
    ScramMechanism,
    UserScramCredentialUpsertion,
)

from devstack.cassandra import session
from devstack.ports import HOST
from tests.secured.conftest import SECRET, Install, Secured
from tests.secured.test_everything_secured import LIMIT, check_no_secret, finished_learner
from tests.support.checks import check_announced_once
from tests.support.installation import Installation
from tests.support.processes import Process
from tests.support.waiting import wait_until

WRONG = "hunter3-wr0ng"


def kafka_and_cassandra(secured: Secured) -> dict[str, dict[str, str]]:
    stranger = str(secured.certificates.stranger)
    return {
        "authority": {"KAFKA_SSL_CA_LOCATION": stranger, "LMS_CASSANDRA_SSL_CA_LOCATION": stranger},
        "plain": {
            "KAFKA_SECURITY_PROTOCOL": "sasl_plaintext",
            "KAFKA_SSL_CA_LOCATION": "",
            "LMS_CASSANDRA_SSL_ENABLED": "false",
            "LMS_CASSANDRA_SSL_CA_LOCATION": "",
        },
    }


def broker_and_ledger(secured: Secured) -> dict[str, dict[str, str]]:
    stranger = str(secured.certificates.stranger)
    return {
        "authority": {"CELERY_BROKER_URL": secured.broker_url(secured.redis, ssl_ca_certs=stranger)},
        "plain": {"CELERY_BROKER_URL": secured.broker_url(secured.redis).replace("rediss:", "redis:").rstrip("?")},
    }


def relation_cache(secured: Secured) -> dict[str, dict[str, str]]:
    stranger = str(secured.certificates.stranger)
    return {
        "authority": {"REDIS_SSL_CA_LOCATION": stranger},
        "plain": {"REDIS_SSL_ENABLED": "false", "REDIS_SSL_CA_LOCATION": ""},
    }


KAFKA_BY_BRIDGE = "the bridge waits and tries again"
KAFKA_BY_WORKER = "events wait"
CASSANDRA_BY_WORKER = "Cassandra can't be used: requests wait for it"
LEDGER_BY_BRIDGE = "the ledger's Redis does not answer"
LEDGER_BY_WORKER = "the ledger is not there yet"
BROKER_BY_WORKER = "consumer: Cannot connect to"
CACHE_BY_WORKER = "RELATION_CACHE_UNAVAILABLE"

# which settings are wrong; then who tells of it, with which words, and which setting the line names
Told = tuple[str, str, str]
CASES: dict[str, tuple[Callable[[Secured], dict[str, dict[str, str]]], tuple[Told, ...]]] = {
    "kafka and cassandra": (
        kafka_and_cassandra,
        (
            ("bridge", KAFKA_BY_BRIDGE, "KAFKA_SECURITY_PROTOCOL"),
            ("worker", KAFKA_BY_WORKER, "KAFKA_SECURITY_PROTOCOL"),
            ("worker", CASSANDRA_BY_WORKER, "LMS_CASSANDRA_SSL_ENABLED"),
        ),
    ),
    "broker and ledger": (
        broker_and_ledger,
        (
            ("bridge", LEDGER_BY_BRIDGE, "LEDGER_REDIS_URL"),
            ("worker", LEDGER_BY_WORKER, "LEDGER_REDIS_URL"),
            ("worker", BROKER_BY_WORKER, "CELERY_BROKER_URL"),
        ),
    ),
    "relation cache": (relation_cache, (("worker", CACHE_BY_WORKER, "REDIS_SSL_ENABLED"),)),
}


def lines(process: Process, *words: str) -> list[str]:
    """Give what a process told so far in lines that hold all these words."""
    return [line for line in process.output().splitlines() if all(word in line for word in words)]


def wait_told(installation: Installation, told: tuple[Told, ...], times: int = 1) -> None:
    for process, *words in told:
        found = {"bridge": installation.bridge, "worker": installation.worker}[process]
        what = f"the {process} tells {words} {times} times"

        def is_told(found: Process = found, words: list[str] = words) -> bool:
            installation.watch()
            return len(lines(found, *words)) >= times

        wait_until(what, is_told, LIMIT)


def check_readable(installation: Installation) -> None:
    """Insist that nothing secret was told, and nothing in many lines."""
    texts = [process.output() for process in installation.processes]
    check_no_secret(*texts)
    for text in texts:
        assert WRONG not in text
        assert "Traceback" not in text
        assert "control connection" not in text
        assert "%3|" not in text  # librdkafka's own log


@pytest.mark.parametrize("kind", ["authority", "plain"])
@pytest.mark.parametrize("case", CASES)
def test_a_wrong_way_is_told_and_waited_for(secured: Secured, install: Install, case: str, kind: str) -> None:
    wrong, told = CASES[case]
    with install(wrong(secured)[kind]) as installation:
        installation.start()
        learner = finished_learner(installation)
        installation.send(learner)

        wait_told(installation, told)

        check_readable(installation)
        assert installation.failures(learner) == []
        assert installation.announced(learner).certificates == []


def _set_kafka(secured: Secured, user: str, password: str) -> None:
    admin = AdminClient(
        {"bootstrap.servers": secured.ports.bootstrap, "log_level": 0, **secured.security.kafka_client()}
    )
    info = ScramCredentialInfo(ScramMechanism.SCRAM_SHA_512, 4096)
    asked = admin.alter_user_scram_credentials([UserScramCredentialUpsertion(user, info, password.encode())])
    for answer in asked.values():
        answer.result(30)


def _set_cassandra(secured: Secured, keyspace: str, user: str, password: str) -> None:
    """Set a user's password; its rights are those that docs/secured-servers.md asks for."""
    with session(HOST, secured.ports.cassandra, security=secured.security) as connected:
        connected.execute(f"CREATE ROLE IF NOT EXISTS {user} WITH LOGIN = true")
        connected.execute(f"ALTER ROLE {user} WITH PASSWORD = %s", [password])
        for table in ("user_content_consumption", "user_enrolments", "user_activity_agg"):
            connected.execute(f"GRANT SELECT ON {keyspace}.{table} TO {user}")
        for table in ("user_enrolments", "user_activity_agg"):
            connected.execute(f"GRANT MODIFY ON {keyspace}.{table} TO {user}")


# what docs/secured-servers.md asks for
LEDGER_RIGHTS = ("~*", "&*", "+@all", "-@admin", "-@dangerous", "+info")
CACHE_RIGHTS = ("~*", "+evalsha", "+script", "+smembers", "+ping", "+select")


def _set_redis(installation: Installation, user: str, password: str) -> None:
    rights = CACHE_RIGHTS if user == "bob" else LEDGER_RIGHTS
    installation.redis.execute_command("ACL", "SETUSER", user, "reset", "on", f">{password}", *rights)


def test_check_finds_nothing_wrong_with_the_rights_that_the_page_asks_for(secured: Secured, install: Install) -> None:
    authority = str(secured.certificates.authority)
    settings = {
        "REDIS_USERNAME": "bob",
        "CELERY_BROKER_URL": secured.broker_url(secured.redis, ssl_ca_certs=authority).replace("alice", "carol"),
    }
    with install(settings) as installation:
        for user in ("bob", "carol"):
            _set_redis(installation, user, SECRET)
        told = json.loads(installation.run_command("check", "--json").stdout)["checks"]
        found = {(it["server"], it["what"]): it for it in told}
        assert {place for place, it in found.items() if it["state"] == "wrong"} == set()
        assert found["relation cache", "answers"]["state"] == "ok"
        assert found["relation cache", "leaf nodes"]["state"] == "not looked at"
        assert "+scan" in found["relation cache", "leaf nodes"]["detail"]

        installation.redis.execute_command("ACL", "SETUSER", "bob", "+dbsize", "+scan")
        told = json.loads(installation.run_command("check", "--json").stdout)["checks"]
        assert "leaf nodes" not in {it["what"] for it in told if it["state"] == "not looked at"}


def test_wrong_passwords_are_told_again_and_all_goes_on_once_they_are_right(secured: Secured, install: Install) -> None:
    authority = str(secured.certificates.authority)
    settings = {
        "KAFKA_SASL_USERNAME": "bob",
        "LMS_CASSANDRA_USERNAME": "bob",
        "REDIS_USERNAME": "bob",
        "CELERY_BROKER_URL": secured.broker_url(secured.redis, ssl_ca_certs=authority).replace("alice", "carol"),
    }
    with install(settings) as installation:
        for user in ("bob", "carol"):
            _set_redis(installation, user, WRONG)
        _set_kafka(secured, "bob", WRONG)
        _set_cassandra(secured, installation.keyspace, "bob", WRONG)
        installation.start()
        learner = finished_learner(installation)
        installation.send(learner)

        wait_told(installation, (("bridge", KAFKA_BY_BRIDGE, "KAFKA_SASL_PASSWORD"),), times=2)
        ledger = (("bridge", LEDGER_BY_BRIDGE, "LEDGER_REDIS_URL"), ("worker", LEDGER_BY_WORKER, "LEDGER_REDIS_URL"))
        wait_told(installation, ledger)
        wait_told(installation, (("worker", BROKER_BY_WORKER, "CELERY_BROKER_URL"),), times=2)
        _set_redis(installation, "carol", SECRET)
        wait_told(installation, (("worker", CASSANDRA_BY_WORKER, "LMS_CASSANDRA_PASSWORD"),))
        wait_told(installation, (("worker", KAFKA_BY_WORKER, "KAFKA_SASL_PASSWORD"),))
        _set_kafka(secured, "bob", SECRET)
        _set_cassandra(secured, installation.keyspace, "bob", SECRET)
        wait_told(installation, (("worker", CACHE_BY_WORKER, "REDIS_PASSWORD"),))
        _set_redis(installation, "bob", SECRET)

        installation.wait_settled(LIMIT)
        check_announced_once(installation, learner)
        assert installation.failures(learner) == []
        check_readable(installation)
