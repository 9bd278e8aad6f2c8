"""Cassandra comes back under another address of the same name, as a pod does that is put onto another machine."""

import socket
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from devstack.ports import Ports
from reconciliation.counters import Counters
from reconciliation.enrolment_store import EnrolmentStore
from reconciliation.errors import StoreUnavailable
from reconciliation.model import EnrolmentKey, Look
from reconciliation.store_connection import StoreConfig
from reconciliation.store_opener import StoreOpener
from tests.support.cassandra_proxy import CassandraProxy

NAME = "cassandra.example"
BEFORE, AFTER = "127.0.0.2", "127.0.0.3"


def test_it_is_found_by_its_name_again(
    ports: Ports,
    store_config: StoreConfig,
    counters: Counters,
    eventually: Callable[..., None],
    monkeypatch: pytest.MonkeyPatch,
    key: EnrolmentKey,
) -> None:
    addresses = {NAME: BEFORE}
    look_up = socket.getaddrinfo

    def found(host: Any, *arguments: Any, **named: Any) -> Any:
        return look_up(addresses.get(host, host), *arguments, **named)

    monkeypatch.setattr(socket, "getaddrinfo", found)
    monkeypatch.setattr("reconciliation.store_opener.RENEW_FIRST", 0.5)
    monkeypatch.setattr("reconciliation.store_opener.OLD_KEPT", 0.1)
    with CassandraProxy(ports.cassandra, address=(BEFORE, 0)) as before:
        port = before.port
        config = replace(store_config, hosts=(NAME,), port=port, timeout=5.0)
        opener = StoreOpener(lambda: EnrolmentStore.connect(config, counters))
        eventually(opener.probe, StoreUnavailable, limit=60)
    try:
        with pytest.raises(StoreUnavailable):
            opener.probe()
        with CassandraProxy(ports.cassandra, address=(AFTER, port)):
            addresses[NAME] = AFTER
            eventually(opener.probe, StoreUnavailable, limit=60)
            assert opener().look([key]) == [Look((), None)]
            opener.close()
    finally:
        opener.close()
