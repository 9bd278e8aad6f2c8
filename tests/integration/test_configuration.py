"""Where both processes take their settings from, and how they refuse wrong ones."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from devstack.ports import HOST, Ports
from devstack.schema import AggregateLayout
from tests.conftest import MakeEnvironment, MakeKeyspace
from tests.support.installation import Installation, new_learner
from tests.support.processes import BRIDGE, CELERY, REPOSITORY, WORKER
from tests.support.relations import course_of_units

PROCESSES = pytest.mark.parametrize(
    "command", [BRIDGE, WORKER, (*CELERY, "worker")], ids=["bridge", "worker", "celery"]
)

# as operators of the Flink job have them: one file of what all jobs share, one of this job's own
BASE_FILE = """
kafka {
  broker-servers = "%(bootstrap)s"
  zookeeper = "127.0.0.1:2181"
}
redis { host = 127.0.0.1, port = %(redis)d, connection { max = 2, timeout.ms = 2000 } }
redisdb.connection.timeout = 30000
lms-cassandra { host = "127.0.0.1", port = "%(cassandra)d", isMultiDCEnabled = false }
job {
  env = "%(environment)s"
  enable.distributed.checkpointing = false
  statebackend { base.url = "file:///tmp/flink" }
}
task { parallelism = 1, checkpointing.interval = 60000 }
"""
JOB_FILE = """
include "base-config.conf"

kafka {
  input.topic = ${job.env}".batch.enrolment.sync.request"
  output.audit.topic = ${job.env}".telemetry.raw"
  output.failed.topic = ${job.env}".enrolment.reconciliation.failed"
  output.certissue.topic = ${job.env}".issue.certificate.request"
  groupId = ${job.env}"-enrolment-reconciliation-group"
}
task { window.shards = 1, consumer.parallelism = 1, enrolment.reconciliation.parallelism = 1 }
lms-cassandra {
  keyspace = "%(keyspace)s"
  consumption.table = "user_content_consumption"
  user_enrolments.table = "user_enrolments"
  user_activity_agg.table = "user_activity_agg"
}
redis { database { relationCache.id = 12 } }
threshold.batch.write.size = 10
activity { module.aggs.enabled = false, filter.processed.enrolments = true, collection.status.cache.expiry = 3600 }
service { search { basePath = "http://127.0.0.1:9" } }
"""


@pytest.fixture
def configured(
    ports: Ports,
    make_environment: MakeEnvironment,
    make_keyspace: MakeKeyspace,
    logs: Path,
    tmp_path: Path,
) -> Iterator[Installation]:
    """An installation whose processes know nothing but a file, and what the environment says against it."""
    environment, keyspace = make_environment(), make_keyspace(AggregateLayout.USER_IN_PARTITION)
    values = {
        "bootstrap": ports.bootstrap,
        "redis": ports.redis,
        "cassandra": ports.cassandra,
        "environment": environment,
        "keyspace": "no_such_keyspace",
    }
    (tmp_path / "base-config.conf").write_text(BASE_FILE % values)
    file = tmp_path / "enrolment-reconciliation.conf"
    file.write_text(JOB_FILE % values)
    settings = {
        "CONFIG_FILE": str(file),
        # the file names a keyspace that isn't there: the environment wins
        "LMS_CASSANDRA_KEYSPACE": keyspace,
        # neither is the Flink job's to know
        "CELERY_BROKER_URL": ports.redis_url(0),
        "METRICS_BRIDGE_PORT": "0",
        "METRICS_WORKER_PORT": "0",
    }
    made = Installation(ports, environment, keyspace, logs, settings, relation_database=12, settings_alone=True)
    with made:
        yield made.start()


def test_the_flink_jobs_own_file_drives_both_processes(configured: Installation) -> None:
    learner = new_learner()
    configured.relations.fill(course_of_units(learner.course, {"unit": {"a"}}))
    configured.tables.add_consumption({learner: {"a": 2}})
    configured.tables.add_enrolments([learner])

    configured.sync(learner)

    row = configured.tables.enrolment(learner)
    assert row is not None
    assert (row["status"], row["progress"]) == (2, 1)
    # the file's own switch
    assert configured.tables.completed_counts(learner) == {learner.course: 1.0}
    announced = configured.announced(learner)
    assert (len(announced.certificates), len(announced.audits)) == (1, 1)


def _start_and_fail(command: tuple[str, ...], settings: dict[str, str]) -> list[str]:
    """Start a process that must refuse to run; returns the lines that it says."""
    ended = subprocess.run(
        command,
        cwd=REPOSITORY,
        env={"PATH": os.environ["PATH"], "METRICS_BRIDGE_PORT": "0", "METRICS_WORKER_PORT": "0", **settings},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ended.returncode not in (0, -15, -9), ended
    lines = (ended.stdout + ended.stderr).strip().splitlines()
    assert not any("Traceback" in line for line in lines), lines
    return lines


@PROCESSES
@pytest.mark.parametrize(
    ("variable", "value", "told"),
    [
        ("LMS_CASSANDRA_PORT", "ninety", "ninety"),
        ("REDIS_PORT", "tcp://10.0.0.1:6379", "Kubernetes"),
        ("THRESHOLD_BATCH_WRITE_SIZE", "0", "1 to 65535"),
        ("CONFIG_FILE", "/nowhere/job.conf", "/nowhere/job.conf"),
        ("KAFKA_OPTIONS", "enable.auto.commit=true", "what is committed is what the ledger holds"),
    ],
)
def test_a_wrong_setting_ends_the_start_with_one_line(
    command: tuple[str, ...], variable: str, value: str, told: str
) -> None:
    (line,) = _start_and_fail(command, {variable: value})

    assert variable in line
    assert told in line


@PROCESSES
def test_a_redis_that_may_evict_is_refused(command: tuple[str, ...], ports: Ports, environment: str) -> None:
    with redis.Redis(host=HOST, port=ports.redis) as client:
        client.config_set("maxmemory-policy", "allkeys-lru")
        try:
            lines = _start_and_fail(
                command,
                {
                    "ENV": environment,
                    "KAFKA_BROKER_SERVERS": ports.bootstrap,
                    "LMS_CASSANDRA_PORT": str(ports.cassandra),
                    "CELERY_BROKER_URL": ports.redis_url(0),
                    "REDIS_PORT": str(ports.redis),
                },
            )
        finally:
            client.config_set("maxmemory-policy", "noeviction")
    # Celery greets before it lets us look
    assert "LEDGER_REDIS_URL" in lines[-1]
    assert "noeviction" in lines[-1]


@PROCESSES
@pytest.mark.parametrize(
    ("options", "told"),
    [
        ("no.such.option=1", "No such configuration property"),
        # refused only together with what the producer has of its own
        ("linger.ms=900000", "linger.ms"),
    ],
)
def test_what_librdkafka_refuses_ends_the_start_with_one_line(
    command: tuple[str, ...], options: str, told: str
) -> None:
    # Celery greets before it lets us look
    line = _start_and_fail(command, {"KAFKA_OPTIONS": options})[-1]

    assert "kafka.options (KAFKA_OPTIONS): librdkafka refuses it" in line
    assert told in line


def test_an_option_that_only_a_consumer_refuses_ends_the_bridges_start_with_one_line() -> None:
    (line,) = _start_and_fail(BRIDGE, {"KAFKA_OPTIONS": "session.timeout.ms=400000"})

    assert "kafka.options (KAFKA_OPTIONS): librdkafka refuses it" in line
    assert "session.timeout.ms" in line
