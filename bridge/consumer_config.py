"""How the bridge's Kafka consumer is set up, each option with its reason."""

import logging
from collections.abc import Callable, Mapping
from typing import Any

from confluent_kafka import KafkaError

from reconciliation.kafka_options import Option
from reconciliation.logs import KAFKA_LOGGER


def consumer_config(
    connection: Mapping[str, Option], group_id: str, report: Callable[[KafkaError], None]
) -> dict[str, Any]:
    """Give the options of a consumer of `group_id`, `connection` among them, which win.

    `report` is told what is worth an operator's attention.
    """
    return {
        "group.id": group_id,
        # committed is what the ledger holds, and nothing else
        "enable.auto.commit": False,
        "enable.auto.offset.store": False,
        "auto.offset.reset": "earliest",
        "partition.assignment.strategy": "cooperative-sticky",
        # a bridge that was killed leaves its partitions to the others after this time
        "session.timeout.ms": 10_000,
        "heartbeat.interval.ms": 2_000,
        # the longest that one round of the bridge may wait for its servers, with room to spare
        "max.poll.interval.ms": 300_000,
        # what is fetched ahead, at most
        "queued.min.messages": 2_000,
        "queued.max.messages.kbytes": 16_384,
        "fetch.message.max.bytes": 1_048_576,
        # the bridge is no reason for a topic to exist; one that is made later is found within seconds
        "allow.auto.create.topics": False,
        "topic.metadata.refresh.interval.ms": 10_000,
        "reconnect.backoff.max.ms": 5_000,
        # what is worth an operator's attention comes through it, once
        "error_cb": report,
        "logger": logging.getLogger(KAFKA_LOGGER),
        **connection,
    }
