import pytest

from devstack.ports import Ports


@pytest.fixture(scope="session")
def redis_url(ports: Ports) -> str:
    return ports.redis_url(0)
