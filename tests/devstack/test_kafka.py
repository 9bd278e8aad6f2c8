"""A Kafka node's identity."""

from uuid import UUID

from devstack.kafka import cluster_id


def test_a_cluster_id_never_looks_like_an_option() -> None:
    drawn = iter([UUID(bytes=b"\xfb" + bytes(15)), UUID(bytes=b"\xf8" + bytes(15)), UUID(bytes=b"\x07" * 16)])
    assert cluster_id(lambda: next(drawn)) == "BwcHBwcHBwcHBwcHBwcHBw"


def test_every_cluster_id_is_new() -> None:
    assert cluster_id() != cluster_id()
