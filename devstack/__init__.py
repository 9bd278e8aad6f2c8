"""Kafka, Cassandra and Redis as local processes, without Docker and without root."""
