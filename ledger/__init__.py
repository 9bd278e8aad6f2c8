"""The ledger: every request that was accepted and still owes something, held in Redis.

The broker is transport; what must not be lost stands here. See docs/reliability.md.
"""
