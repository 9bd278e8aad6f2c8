"""Where a bulk run's requests come from: they have a place as records on Kafka have, and no record there. Pure."""

from reconciliation.model import Origin

#: What such a topic begins with, before the run's id. No topic of Kafka has a colon.
RUN_TOPIC = "bulk:"


def run_topic(run: str) -> str:
    """Give the topic that a run's requests name as theirs."""
    return f"{RUN_TOPIC}{run}"


def is_of_run(origin: Origin) -> bool:
    """Say whether a bulk run asked, and no click."""
    return origin.topic.startswith(RUN_TOPIC)
