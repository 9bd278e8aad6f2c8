"""Ports that are looked at before servers listen on them."""

import os
import socket

import pytest

from devstack.ports import HOST, free_port, is_free


def test_a_look_keeps_no_server_from_its_port_though_a_process_that_starts_meanwhile_has_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    held: list[int] = []

    class Copied(socket.socket):
        def close(self) -> None:
            # as a fork has it, until its program is loaded
            held.append(os.dup(self.fileno()))
            super().close()

    port = free_port()
    monkeypatch.setattr("devstack.ports.socket.socket", Copied)
    assert is_free(port)
    monkeypatch.undo()
    try:
        assert len(held) == 1
        with socket.create_server((HOST, port)):
            assert not is_free(port)
    finally:
        for copy in held:
            os.close(copy)
    assert is_free(port)
