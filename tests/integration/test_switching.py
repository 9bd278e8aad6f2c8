"""Taking the input topic over from another consumer of the same group, and giving it back (docs/moving-from-flink.md).

The Flink job's source reads partitions that it assigns to itself, joins no group, and commits plain offsets under the
group's name; so do the consumers here.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from tests.integration.conftest import MakeInstallation
from tests.support.installation import Installation, new_learner
from tests.support.relations import course_of_units
from tests.support.tables import Learner

LIMIT_SECONDS = 20.0
SEVERAL = 8


@contextmanager
def another_consumer(installation: Installation) -> Iterator[Consumer]:
    """Give a consumer under our group's name that has not joined the group."""
    consumer = Consumer(
        {
            "bootstrap.servers": installation.ports.bootstrap,
            "group.id": installation.group_id,
            "enable.auto.commit": False,
            "auto.offset.reset": "earliest",
            "enable.partition.eof": True,
            "log_level": 0,
        }
    )
    try:
        yield consumer
    finally:
        consumer.close()


def places(installation: Installation, consumer: Consumer) -> list[TopicPartition]:
    """List the input topic's partitions, each with the group's committed offset."""
    topic = installation.input_topic
    numbers = consumer.list_topics(topic, timeout=LIMIT_SECONDS).topics[topic].partitions
    return consumer.committed([TopicPartition(topic, number) for number in numbers], timeout=LIMIT_SECONDS)


def read_all(consumer: Consumer, assigned: list[TopicPartition]) -> list[bytes | str | None]:
    """Read these partitions from these places to their ends; gives the records' keys."""
    consumer.assign(assigned)
    ended: set[int | None] = set()
    keys: list[bytes | str | None] = []
    while len(ended) < len(assigned):
        message = consumer.poll(LIMIT_SECONDS)
        assert message is not None
        error = message.error()
        if error is None:
            keys.append(message.key())
        else:
            assert error.code() == KafkaError._PARTITION_EOF, error
            ended.add(message.partition())
    return keys


def several(installation: Installation) -> list[Learner]:
    """Write learners who have completed their course, and whose enrolments don't say so yet."""
    course = new_learner().course
    installation.relations.fill(course_of_units(course, {"unit": {"a"}}))
    learners = [new_learner(course) for _ in range(SEVERAL)]
    installation.tables.add_consumption({learner: {"a": 2} for learner in learners})
    installation.tables.add_enrolments(learners)
    return learners


def statuses(installation: Installation, learners: list[Learner]) -> set[object]:
    rows = [installation.tables.enrolment(learner) for learner in learners]
    return {row and row["status"] for row in rows}


def test_a_group_is_taken_over_where_another_consumer_left_it(make_installation: MakeInstallation) -> None:
    with make_installation() as installation:
        theirs, ours = several(installation), several(installation)
        installation.send(*theirs)
        with another_consumer(installation) as job:
            assert len(read_all(job, places(installation, job))) == SEVERAL
            job.commit(offsets=job.position(job.assignment()), asynchronous=False)
        assert installation.behind() == {}
        installation.send(*ours)

        installation.start()
        installation.wait_settled()

        assert installation.metrics("bridge")["total_events_count_total"] == SEVERAL
        assert statuses(installation, theirs) == {1}
        assert statuses(installation, ours) == {2}


def test_another_consumer_goes_on_where_we_left_the_group(make_installation: MakeInstallation) -> None:
    with make_installation() as installation:
        ours, theirs = several(installation), several(installation)
        installation.start()
        installation.sync(*ours)
        installation.end()
        installation.send(*theirs)

        with another_consumer(installation) as job:
            left = places(installation, job)
            assert any(place.metadata for place in left), "our commits carry metadata"
            keys = read_all(job, left)

        assert sorted(str(key) for key in keys) == sorted(str(learner.user.encode()) for learner in theirs)


def test_a_consumer_beside_us_reads_everything_too_and_cannot_commit(make_installation: MakeInstallation) -> None:
    with make_installation() as installation:
        learners = several(installation)
        installation.start()
        installation.sync(*learners)
        before = installation.committed()

        with another_consumer(installation) as job:
            topic = installation.input_topic
            beginnings = [TopicPartition(topic, place.partition, 0) for place in places(installation, job)]
            assert len(read_all(job, beginnings)) == SEVERAL
            with pytest.raises(KafkaException) as refused:
                job.commit(offsets=beginnings, asynchronous=False)

        assert refused.value.args[0].code() == KafkaError.UNKNOWN_MEMBER_ID
        assert installation.committed() == before
