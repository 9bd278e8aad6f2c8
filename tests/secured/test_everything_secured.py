"""A learner is completed and announced where every server asks who we are and speaks TLS."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.secured.conftest import SECRET, STORE_SECRET, Install, Secured
from tests.support.checks import check_announced_once
from tests.support.installation import Installation, new_learner
from tests.support.relations import course_of_units
from tests.support.tables import Learner

LIMIT = 120.0


def finished_learner(installation: Installation) -> Learner:
    """Make a learner whose sync request completes the course."""
    learner = new_learner()
    installation.relations.fill(course_of_units(learner.course, {"unit": {"a"}}))
    installation.tables.add_consumption({learner: {"a": 2}})
    installation.tables.add_enrolments([learner])
    return learner


def check_no_secret(*texts: str) -> None:
    for text in texts:
        assert SECRET not in text
        assert STORE_SECRET not in text


def _with_passwords(secured: Secured, _folder: Path) -> dict[str, str]:
    return secured.settings()


def _with_secrets_from_files(secured: Secured, folder: Path) -> dict[str, str]:
    settings = secured.settings()
    for name in ("KAFKA_SASL_PASSWORD", "LMS_CASSANDRA_PASSWORD", "REDIS_PASSWORD", "CELERY_BROKER_URL"):
        file = folder / name.lower()
        file.write_text(settings[name] + "\n")
        settings |= {name: "", f"{name}_FILE": str(file)}
    return settings | {"KAFKA_SASL_MECHANISM": "PLAIN"}


def _with_certificates_of_our_own(secured: Secured, _folder: Path) -> dict[str, str]:
    own, authority = secured.certificates, str(secured.certificates.authority)
    return {
        "KAFKA_BROKER_SERVERS": f"127.0.0.1:{secured.security.kafka_ssl_port}",
        "KAFKA_SECURITY_PROTOCOL": "ssl",
        "KAFKA_SASL_MECHANISM": "",
        "KAFKA_SASL_USERNAME": "",
        "KAFKA_SASL_PASSWORD": "",
        "KAFKA_SSL_CERTIFICATE_LOCATION": str(own.client),
        "KAFKA_SSL_KEY_LOCATION": str(own.locked_client_key),
        "KAFKA_SSL_KEY_PASSWORD": STORE_SECRET,
        "KAFKA_OPTIONS": '{"client.rack": "a", "socket.keepalive.enable": true}',
        "REDIS_PORT": str(secured.redis_certified),
        "REDIS_SSL_CERTIFICATE_LOCATION": str(own.client),
        "REDIS_SSL_KEY_LOCATION": str(own.client_key),
        "CELERY_BROKER_URL": secured.broker_url(
            secured.redis_certified, ssl_ca_certs=authority, ssl_certfile=own.client, ssl_keyfile=own.client_key
        ),
    }


@pytest.mark.parametrize("ways", [_with_passwords, _with_secrets_from_files, _with_certificates_of_our_own])
def test_a_learner_is_completed_and_announced(
    secured: Secured, install: Install, tmp_path: Path, ways: Callable[[Secured, Path], dict[str, str]]
) -> None:
    with install(ways(secured, tmp_path)) as installation:
        installation.start()
        learner = finished_learner(installation)

        installation.sync(learner, limit=LIMIT)

        row = installation.tables.enrolment(learner)
        assert row is not None
        assert (row["status"], row["progress"]) == (2, 1)
        check_announced_once(installation, learner)
        told = installation.operate("resume")
        check_no_secret(told, *(process.output() for process in installation.processes))
