"""The bridge: takes sync requests from Kafka into the ledger and sends them to the workers as Celery messages.

Only what the ledger holds, or what Kafka confirmed on the failed topic, is ever committed (docs/reliability.md).
"""
