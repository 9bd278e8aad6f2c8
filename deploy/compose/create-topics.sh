#!/bin/sh
# Makes the topics of one environment, two partitions each; a topic that is there stays as it is.
# In: ENV, KAFKA_BROKER_SERVERS. Out: 0 when all topics exist.
set -eu

for topic in \
    "$ENV.batch.enrolment.sync.request" \
    "$ENV.enrolment.reconciliation.failed" \
    "$ENV.telemetry.raw" \
    "$ENV.issue.certificate.request"; do
    /opt/kafka/bin/kafka-topics.sh --bootstrap-server "$KAFKA_BROKER_SERVERS" \
        --create --if-not-exists --topic "$topic" --partitions 2 --replication-factor 1
done
