"""Every setting by table: what it is unless set, what it takes, what it refuses."""

import os
import subprocess
import sys
from dataclasses import FrozenInstanceError
from pathlib import Path

import pytest

from reconciliation.errors import SettingsError
from reconciliation.settings import catalogue, load_settings
from reconciliation.settings_reference import embedded, reference
from reconciliation.settings_sources import environment_variable

PAGE = Path(__file__).parents[2] / "docs" / "settings.md"

# field: (environment variable, default, a text that is taken, what it becomes, texts that are refused)
# Without a text that is taken are those that go with others alone (test_secured_settings.py).
TABLE: dict[str, tuple[str, object, str | None, object, tuple[str, ...]]] = {
    "environment": ("ENV", "local", "prod-1", "prod-1", ("a b", "ä", "a" * 101, "{{env}}", "a/b")),
    "kafka_broker_servers": (
        "KAFKA_BROKER_SERVERS",
        "127.0.0.1:9092",
        "one:1, [::1]:9092",
        "one:1,[::1]:9092",
        ("one", "one:0", "one:65536", "one:1,,two:2", "kafka://one:1", "one:1;two:2"),
    ),
    "kafka_input_topic": (
        "KAFKA_INPUT_TOPIC",
        "local.batch.enrolment.sync.request",
        "{{env}}.in",
        "local.in",
        ("a b", ".", "..", "a" * 250, "a/b", "${job.env}.in"),
    ),
    "kafka_output_failed_topic": (
        "KAFKA_OUTPUT_FAILED_TOPIC",
        "local.enrolment.reconciliation.failed",
        "{{ env }}_failed",
        "local_failed",
        ("é", "local.batch.enrolment.sync.request"),
    ),
    "kafka_audit_topic": (
        "KAFKA_AUDIT_TOPIC",
        "local.telemetry.raw",
        "audit",
        "audit",
        ("a,b", "local.batch.enrolment.sync.request"),
    ),
    "kafka_certissue_topic": (
        "KAFKA_CERTISSUE_TOPIC",
        "local.issue.certificate.request",
        "cert",
        "cert",
        ("a:b", "{{env}}.batch.enrolment.sync.request"),
    ),
    "shadow_enabled": ("SHADOW_ENABLED", False, "yes", True, ("shadow",)),
    "kafka_group_id": (
        "KAFKA_GROUPID",
        "local-enrolment-reconciliation-group",
        "group_1",
        "group_1",
        ("a b", "a*", "g" * 250),
    ),
    "kafka_timeout": ("KAFKA_TIMEOUT", 30.0, "1.5", 1.5, ("0.9", "601", "nan", "inf", "-inf", "5s")),
    "kafka_security_protocol": (
        "KAFKA_SECURITY_PROTOCOL",
        "plaintext",
        "SSL",
        "ssl",
        ("tls", "sasl"),
    ),
    "kafka_sasl_mechanism": ("KAFKA_SASL_MECHANISM", None, None, None, ("GSSAPI", "PLAIN")),
    "kafka_sasl_username": ("KAFKA_SASL_USERNAME", None, None, None, ("a\nb", "alice")),
    "kafka_sasl_password": ("KAFKA_SASL_PASSWORD", None, None, None, ("a\nb", "pw", "p" * 4097)),
    "kafka_ssl_ca_location": ("KAFKA_SSL_CA_LOCATION", None, None, None, ("/nowhere/ca.pem", str(PAGE))),
    "kafka_ssl_certificate_location": ("KAFKA_SSL_CERTIFICATE_LOCATION", None, None, None, ("/",)),
    "kafka_ssl_key_location": ("KAFKA_SSL_KEY_LOCATION", None, None, None, ("/nowhere/key.pem",)),
    "kafka_ssl_key_password": ("KAFKA_SSL_KEY_PASSWORD", None, None, None, ("pw",)),
    "kafka_options": (
        "KAFKA_OPTIONS",
        None,
        "client.rack = a,socket.keepalive.enable=true",
        (("client.rack", "a"), ("socket.keepalive.enable", "true")),
        ("client.rack", "=a", "a=b,", "a=1,a=2", "acks=1", "error_cb=x", "{", "[]", '{"a": {}}', '{"a": null}', "A=b"),
    ),
    "cassandra_hosts": (
        "LMS_CASSANDRA_HOST",
        ("127.0.0.1",),
        "a, 10.0.0.2,::1",
        ("a", "10.0.0.2", "::1"),
        ("a:9042", "a b", "a,,b", "-a", "http://a"),
    ),
    "cassandra_port": ("LMS_CASSANDRA_PORT", 9042, "65535", 65535, ("0", "65536", "x", "1.5", "-1")),
    "cassandra_keyspace": (
        "LMS_CASSANDRA_KEYSPACE",
        "sunbird_courses",
        "K1_x",
        "K1_x",
        ("1k", "a-b", "a.b", "a" * 49, 'a"; DROP'),
    ),
    "content_consumption_table": (
        "LMS_CASSANDRA_CONTENT_CONSUMPTION_TABLE",
        "user_content_consumption",
        "c" * 48,
        "c" * 48,
        ("_c", "c c"),
    ),
    "user_enrolments_table": (
        "LMS_CASSANDRA_USER_ENROLMENTS_TABLE",
        "user_enrolments",
        "e",
        "e",
        ("e;", "é"),
    ),
    "user_activity_agg_table": (
        "LMS_CASSANDRA_USER_ACTIVITY_AGG_TABLE",
        "user_activity_agg",
        "a2",
        "a2",
        ("2a",),
    ),
    "cassandra_multi_datacenter": (
        "LMS_CASSANDRA_ISMULTIDCENABLED",
        False,
        "TRUE",
        True,
        ("maybe", "2"),
    ),
    "cassandra_local_datacenter": (
        "LMS_CASSANDRA_LOCALDATACENTER",
        None,
        "dc 1",
        "dc 1",
        ("a\nb", "d" * 129),
    ),
    "cassandra_timeout": ("LMS_CASSANDRA_TIMEOUT", 10.0, "2", 2.0, ("0", "1e2", "1_0")),
    "cassandra_write_timestamps": ("LMS_CASSANDRA_WRITE_TIMESTAMPS", True, "off", False, ("offf",)),
    "cassandra_username": ("LMS_CASSANDRA_USERNAME", None, None, None, ("a\nb",)),
    "cassandra_password": ("LMS_CASSANDRA_PASSWORD", None, None, None, ("pw",)),
    "cassandra_ssl_enabled": ("LMS_CASSANDRA_SSL_ENABLED", False, "on", True, ("tls",)),
    "cassandra_ssl_ca_location": ("LMS_CASSANDRA_SSL_CA_LOCATION", None, None, None, ("/no", str(PAGE))),
    "cassandra_ssl_certificate_location": (
        "LMS_CASSANDRA_SSL_CERTIFICATE_LOCATION",
        None,
        None,
        None,
        (str(PAGE),),
    ),
    "cassandra_ssl_key_location": ("LMS_CASSANDRA_SSL_KEY_LOCATION", None, None, None, (str(PAGE),)),
    "cassandra_ssl_hostname_verification": ("LMS_CASSANDRA_SSL_HOSTNAME_VERIFICATION", True, "off", False, ("x",)),
    "redis_host": ("REDIS_HOST", "127.0.0.1", "redis.svc", "redis.svc", ("redis:6379", "a,b")),
    "redis_port": ("REDIS_PORT", 6379, "1", 1, ("tcp://10.0.0.1:6379", "99999")),
    "relation_cache_database": ("REDIS_DATABASE_RELATIONCACHE_ID", 10, "0", 0, ("-1", "ten")),
    "redis_timeout": ("REDIS_TIMEOUT", 5.0, "0.1", 0.1, ("0.05", "NaN")),
    "redis_username": ("REDIS_USERNAME", None, None, None, ("a\nb",)),
    "redis_password": ("REDIS_PASSWORD", None, "pass word", "pass word", ("a\nb",)),
    "redis_ssl_enabled": ("REDIS_SSL_ENABLED", False, "on", True, ("tls",)),
    "redis_ssl_ca_location": ("REDIS_SSL_CA_LOCATION", None, None, None, ("/no", str(PAGE))),
    "redis_ssl_certificate_location": ("REDIS_SSL_CERTIFICATE_LOCATION", None, None, None, (str(PAGE),)),
    "redis_ssl_key_location": ("REDIS_SSL_KEY_LOCATION", None, None, None, (str(PAGE),)),
    "redis_ssl_hostname_verification": ("REDIS_SSL_HOSTNAME_VERIFICATION", True, "off", False, ("x",)),
    "search_base_path": (
        "SERVICE_SEARCH_BASEPATH",
        None,
        "https://h:9000/search//",
        "https://h:9000/search",
        (
            "ftp://h",
            "h:9000",
            "http://",
            "http://h?a=b",
            "http://h:99999",
            "http://h/\tx",
            "http://h/ x",
            "http://u:12/s@h",
        ),
    ),
    "search_timeout": ("SERVICE_SEARCH_TIMEOUT", 10.0, "600", 600.0, ("600.1",)),
    "search_token": ("SERVICE_SEARCH_TOKEN", None, "abc.def-1", "abc.def-1", ("a b", "\u00e9")),
    "search_header": (
        "SERVICE_SEARCH_HEADER",
        None,
        "X-Key:  a b",
        ("X-Key", "a b"),
        ("X-Key", "X Key: a", "X-Key:", ": a", "X-Key: \u00e9"),
    ),
    "search_ssl_ca_location": ("SERVICE_SEARCH_SSL_CA_LOCATION", None, None, None, ("/no", str(PAGE))),
    "celery_broker_url": (
        "CELERY_BROKER_URL",
        "redis://127.0.0.1:6379/0",
        "rediss://:pw@h:6380/3?ssl_cert_reqs=required",
        "rediss://:pw@h:6380/3?ssl_cert_reqs=required",
        (
            "memory://",
            "redis://",
            "h:6379",
            "redis://h/x",
            "redis://h/0/",
            "redis://h:6379/0/",
            "redis://h0/12345",
            "redis://:se;cret@h",
            "redis://a/0;redis://b/0",
            "amqp://a;amqps://b",
            # kombu would take these in place of our own TLS
            "amqps://h?ssl=true",
            "amqps://h/v?ssl_cert_reqs=none",
            "amqps://h;amqps://h?ssl=true",
            "amqp://h/v?heartbeat=1",
            "amqp://h/v#x",
            "amqp://alice:2024/Geheim@rabbit/v",
            "redis://h:0",
            "redis://h/0?nonsense=1",
            "redis://h/0?ssl_cert_reqs=required",
            "rediss://h/0?ssl_cert_reqs=perhaps",
            "rediss://h/0?socket_timeout=abc",
            "rediss://h/0?ssl_check_hostname=no",
            "rediss://h/0?ssl_ca_certs=/nowhere/ca.pem",
            "rediss://h/0?ssl_cert_reqs=none&ssl_cert_reqs=required",
            "sentinel://h:26379/0;redis://h",
            "sentinel://h:26379/0?ssl_cert_reqs=none",
            "sentinel://:a@h:1/0;sentinel://:b@h:2/0",
            "sentinel://h:1/0;sentinel://h:2/1",
        ),
    ),
    "ledger_redis_url": (
        "LEDGER_REDIS_URL",
        "redis://127.0.0.1:6379/0",
        "redis://h/1",
        "redis://h/1",
        ("amqp://h", "redis://h/a", "redis://h/0/", "redis://a:1/x@h", "sentinel://h:26379/0"),
    ),
    "broker_sentinel_master": ("CELERY_BROKER_SENTINEL_MASTER", None, None, None, ("main",)),
    "broker_sentinel_username": ("CELERY_BROKER_SENTINEL_USERNAME", None, None, None, ("alice",)),
    "broker_sentinel_password": ("CELERY_BROKER_SENTINEL_PASSWORD", None, None, None, ("pw",)),
    "broker_ssl_enabled": ("CELERY_BROKER_SSL_ENABLED", False, None, None, ("true",)),
    "broker_ssl_ca_location": ("CELERY_BROKER_SSL_CA_LOCATION", None, None, None, (str(PAGE),)),
    "broker_ssl_certificate_location": (
        "CELERY_BROKER_SSL_CERTIFICATE_LOCATION",
        None,
        None,
        None,
        (str(PAGE),),
    ),
    "broker_ssl_key_location": ("CELERY_BROKER_SSL_KEY_LOCATION", None, None, None, (str(PAGE),)),
    "broker_ssl_hostname_verification": ("CELERY_BROKER_SSL_HOSTNAME_VERIFICATION", True, "off", False, ("x",)),
    "batch_write_size": ("THRESHOLD_BATCH_WRITE_SIZE", 10, "65535", 65535, ("0", "65536")),
    "module_aggregates_enabled": ("ACTIVITY_MODULE_AGGS_ENABLED", True, "no", False, ("",)),
    "filter_processed_enrolments": ("ACTIVITY_FILTER_PROCESSED_ENROLMENTS", True, "0", False, ("n",)),
    "optional_nodes_enabled": ("ACTIVITY_OPTIONAL_NODES_ENABLED", True, "False", False, ("f",)),
    "collection_status_cache_expiry": (
        "ACTIVITY_COLLECTION_STATUS_CACHE_EXPIRY",
        3600,
        "0",
        0,
        ("-1", "31536001", "1.5"),
    ),
    "audit_channel": ("AUDIT_CHANNEL", "in.sunbird", "in.école", "in.école", ("\udc80", "c" * 129)),
    "ledger_max_open": ("LEDGER_MAX_OPEN", 10_000, "1", 1, ("0", "1000001")),
    "ledger_max_waiting": ("LEDGER_MAX_WAITING", 10_000, "0", 0, ("-1", "1000001")),
    "ledger_lease": ("LEDGER_LEASE", 60.0, "1", 1.0, ("0.5",)),
    "ledger_sweep_after": ("LEDGER_SWEEP_AFTER", 15.0, "0.1", 0.1, ("0",)),
    "ledger_sweep_interval": ("LEDGER_SWEEP_INTERVAL", 0.5, "0.05", 0.05, ("61",)),
    "ledger_sweep_max_wait": ("LEDGER_SWEEP_MAX_WAIT", 3600.0, "5", 5.0, ("86401",)),
    "ledger_sweep_rate": ("LEDGER_SWEEP_RATE", 300, "1", 1, ("0", "100001", "1.5")),
    "ledger_paid_memory": ("LEDGER_PAID_MEMORY", 172_800.0, "60", 60.0, ("59",)),
    "group_size": ("BRIDGE_GROUP_SIZE", 100, "500", 500, ("0", "501", "٣")),
    "bulk_max_open": ("BULK_MAX_OPEN", 3000, "1", 1, ("0", "100001")),
    "bulk_group_size": ("BULK_GROUP_SIZE", 100, "500", 500, ("0", "501")),
    "bulk_worker_threads": ("BULK_WORKER_THREADS", 1, "256", 256, ("0", "257")),
    "bulk_worker_share": ("BULK_WORKER_SHARE", 20, "100", 100, ("0", "101")),
    "poll_records": ("BRIDGE_POLL_RECORDS", 500, "10000", 10_000, ("10001", "9" * 5000)),
    "worker_threads": ("WORKER_THREADS", 4, "8.0", 8, ("257",)),
    "worker_shutdown_limit": ("WORKER_SHUTDOWN_LIMIT", 110.0, "1", 1.0, ("0", "3601")),
    "retry_attempts": ("RETRY_ATTEMPTS", 6, "1", 1, ("0", "101")),
    "retry_backoff_first": ("RETRY_BACKOFF_FIRST", 5.0, "0.05", 0.05, ("0",)),
    "retry_backoff_most": ("RETRY_BACKOFF_MOST", 60.0, "86400", 86_400.0, ("4.9", "86401")),
    "outage_backoff_most": ("OUTAGE_BACKOFF_MOST", 30.0, "3600", 3600.0, ("3601",)),
    "crash_attempts": ("CRASH_ATTEMPTS", 3, "100", 100, ("0",)),
    "failures_max_per_minute": ("FAILURES_MAX_PER_MINUTE", 200, "1", 1, ("0", "1000001")),
    "attempt_limit": ("ATTEMPT_LIMIT", 300.0, "1.5", 1.5, ("0.9", "86401")),
    "shadow_delay": ("SHADOW_DELAY", 60.0, "0", 0.0, ("-1", "86401")),
    "course_list_dropped": ("ENROLMENT_CACHE_DROP", False, "yes", True, ("perhaps",)),
    "course_list_redis_url": (
        "ENROLMENT_CACHE_REDIS_URL",
        None,
        "rediss://lms:pw@h:6380/2?ssl_cert_reqs=required",
        "rediss://lms:pw@h:6380/2?ssl_cert_reqs=required",
        ("amqp://h", "redis://h/a", "sentinel://h:26379/0", "redis://h/0?ssl_cert_reqs=required"),
    ),
    "course_list_timeout": ("ENROLMENT_CACHE_TIMEOUT", 1.0, "0.05", 0.05, ("0.04", "61")),
    "completed_on_from_consumption": ("ENROLMENT_COMPLETEDON_FROM_CONSUMPTION", False, "on", True, ("now",)),
    "completion_percentage_written": ("ENROLMENT_COMPLETIONPERCENTAGE_WRITE", False, "1", True, ("100",)),
    "batch_sync_accepted": ("REQUEST_BATCH_SYNC_ACCEPT", False, "True", True, ("batch-enrolment-sync",)),
    "metrics_address": ("METRICS_ADDRESS", "127.0.0.1", "0.0.0.0", "0.0.0.0", ("a:1",)),  # noqa: S104 - a value only
    "metrics_bridge_port": ("METRICS_BRIDGE_PORT", 9464, "0", 0, ("65536", "TCP://10.0.0.1:1")),
    "metrics_worker_port": ("METRICS_WORKER_PORT", 9465, "0", 0, ("-1",)),
    "relation_sources": (
        "RELATIONS_SOURCES",
        ("redis",),
        "Cassandra , redis",
        ("cassandra", "redis"),
        ("redis,", "redis,redis", "mysql", "redis;cassandra", ","),
    ),
    "hierarchy_relations_keyspace": (
        "LMS_CASSANDRA_HIERARCHY_RELATIONS_KEYSPACE",
        "local_hierarchy_store",
        "K1_x",
        "K1_x",
        ("1k", "a-b", 'a"; DROP'),
    ),
    "hierarchy_relations_table": (
        "LMS_CASSANDRA_HIERARCHY_RELATIONS_TABLE",
        "hierarchy_relations",
        "r",
        "r",
        ("r;", "2a"),
    ),
    "content_hierarchy_keyspace": (
        "LMS_CASSANDRA_CONTENT_HIERARCHY_KEYSPACE",
        "local_hierarchy_store",
        "K1_x",
        "K1_x",
        ("1k", "a-b"),
    ),
    "content_hierarchy_table": (
        "LMS_CASSANDRA_CONTENT_HIERARCHY_TABLE",
        "content_hierarchy",
        "h",
        "h",
        ("h;",),
    ),
    "relation_healing_enabled": ("RELATIONS_HEALING_ENABLED", False, "yes", True, ("maybe",)),
    "relation_healing_topic": (
        "RELATIONS_HEALING_TOPIC",
        "local.content.postpublish.request",
        "{{env}}.heal",
        "local.heal",
        ("a b", "..", "t" * 250),
    ),
    "relation_healing_interval": ("RELATIONS_HEALING_INTERVAL", 3600.0, "60", 60.0, ("0.5", "2592001")),
    "health_limit": ("HEALTH_LIMIT", 300.0, "60.5", 60.5, ("0.5", "86401")),
    "log_format": ("LOG_FORMAT", "console", "JSON", "json", ("xml",)),
    "log_level": ("LOG_LEVEL", "info", "Warning", "warning", ("trace",)),
    "log_requests": ("LOG_REQUESTS", True, "no", False, ("maybe",)),
    "log_enrolment_ids": ("LOG_ENROLMENT_IDS", "hashed", "Plain", "plain", ("sha256", "true")),
}
REFUSED = [(field, variable, text) for field, (variable, _, _, _, texts) in TABLE.items() for text in texts if text]


def test_table_names_every_setting() -> None:
    assert set(TABLE) == set(catalogue())


@pytest.mark.parametrize("field", TABLE)
def test_variable_follows_from_the_documented_name(field: str) -> None:
    assert environment_variable(catalogue()[field].about.name) == TABLE[field][0]


def test_no_two_settings_share_a_name_and_none_is_a_block_of_another() -> None:
    names = [name for setting in catalogue().values() for name in setting.about.names]
    variables = [environment_variable(name) for name in names]
    assert len(set(variables)) == len(variables)
    assert "CONFIG_FILE" not in variables
    assert not [(one, two) for one in names for two in names if two.startswith(one + ".")]


@pytest.mark.parametrize("field", TABLE)
def test_default(field: str) -> None:
    assert getattr(load_settings({}), field) == TABLE[field][1]


@pytest.mark.parametrize("field", TABLE)
def test_empty_or_blank_counts_as_not_set(field: str) -> None:
    variable = TABLE[field][0]
    assert load_settings({variable: ""}) == load_settings({variable: " \t"}) == load_settings({})


@pytest.mark.parametrize("field", [field for field, row in TABLE.items() if row[2] is not None])
def test_taken(field: str) -> None:
    variable, _, text, value, _ = TABLE[field]
    assert getattr(load_settings({variable: f" {text} "}), field) == value


@pytest.mark.parametrize(("field", "variable", "text"), REFUSED)
def test_refused_in_one_line_that_names_it(field: str, variable: str, text: str) -> None:
    with pytest.raises(SettingsError) as caught:
        load_settings({variable: text})
    line = str(caught.value)
    about = catalogue()[field].about
    assert line.splitlines() == [line]
    assert line.startswith(f"{about.name} ({variable} in the environment) is ")
    assert f", but must be {catalogue()[field].kind.allowed}" in line
    assert line.isprintable()


def test_a_refused_value_reads_as_given() -> None:
    with pytest.raises(SettingsError) as caught:
        load_settings({"BRIDGE_GROUP_SIZE": "many\n"})
    assert str(caught.value) == (
        "bridge.group.size (BRIDGE_GROUP_SIZE in the environment) is 'many', but must be a whole number from 1 to 500"
    )


def test_each_wrong_setting_has_its_line_and_what_hangs_on_it_has_none() -> None:
    with pytest.raises(SettingsError) as caught:
        load_settings({"ENV": "a b", "REDIS_PORT": "x", "CELERY_BROKER_URL": "amqp://h", "LOG_LEVEL": "loud"})
    assert sorted(line.split()[0] for line in str(caught.value).splitlines()) == [
        "env",
        "log.level",
        "redis.port",
    ]


def test_a_service_link_is_called_one() -> None:
    with pytest.raises(SettingsError, match=r"'tcp://10\.0\.0\.1:6379'.*enableServiceLinks: false"):
        load_settings({"REDIS_PORT": "tcp://10.0.0.1:6379"})


def test_environment_name_fills_every_placeholder() -> None:
    settings = load_settings({"ENV": "prod", "AUDIT_CHANNEL": "{{env}}.{{ env }}"})
    assert settings.kafka_input_topic == "prod.batch.enrolment.sync.request"
    assert settings.kafka_group_id == "prod-enrolment-reconciliation-group"
    assert settings.audit_channel == "prod.prod"


@pytest.mark.parametrize(
    ("given", "group"),
    [
        ({"ENV": "prod"}, "prod-enrolment-reconciliation-group-shadow"),
        ({"KAFKA_GROUPID": "{{env}}-of-flink"}, "local-of-flink-shadow"),
    ],
)
def test_shadow_mode_never_works_in_the_live_group(given: dict[str, str], group: str) -> None:
    shadow, live = load_settings({**given, "SHADOW_ENABLED": "true"}), load_settings(given)
    assert shadow.kafka_group_id == shadow.shadow_group_id == group
    assert live.kafka_group_id == group.removesuffix("-shadow")
    assert live.shadow_group_id == group


def test_a_group_that_shadow_mode_makes_too_long_is_refused() -> None:
    group = "g" * 243
    assert load_settings({"KAFKA_GROUPID": group}).kafka_group_id == group
    with pytest.raises(SettingsError, match=r"^kafka\.groupId .*\"-shadow\" is appended"):
        load_settings({"KAFKA_GROUPID": group, "SHADOW_ENABLED": "true"})


def test_input_topic_that_is_an_output_topic_of_default_is_refused() -> None:
    with pytest.raises(SettingsError, match=r"^kafka\.audit\.topic \(its default\) is 'local\.telemetry\.raw'"):
        load_settings({"KAFKA_INPUT_TOPIC": "local.telemetry.raw"})


def test_first_wait_longer_than_the_longest_default_is_refused() -> None:
    with pytest.raises(SettingsError, match=r"^retry\.backoff\.most \(its default\) is '60\.0'"):
        load_settings({"RETRY_BACKOFF_FIRST": "61"})


@pytest.mark.parametrize(
    ("given", "ledger"),
    [
        ({"CELERY_BROKER_URL": "rediss://:pw@h:1/2"}, "rediss://:pw@h:1/2"),
        ({"CELERY_BROKER_URL": "amqp://h", "REDIS_HOST": "r", "REDIS_PORT": "7"}, "redis://r:7/0"),
        ({"CELERY_BROKER_URL": "amqp://a:1;amqp://b:2", "REDIS_HOST": "::1"}, "redis://[::1]:6379/0"),
        ({"CELERY_BROKER_URL": "redis://h/1", "LEDGER_REDIS_URL": "redis://l/2"}, "redis://l/2"),
    ],
)
def test_where_the_ledger_is(given: dict[str, str], ledger: str) -> None:
    assert load_settings(given).ledger_redis_url == ledger


@pytest.mark.parametrize(
    "url",
    [
        "mysql://user:hunter2@h/0",
        "redis://:hunter2@h:port/0",
        "redis://:hunter2@h:1/x",
        "redis://h:1/hunter2@h",
        "redis://h:1/0?a=hunter2@h",
        "redis://h:1/0#hunter2@h",
        "redis://:a/hunter2@h:1/0",
        "redis://:a#hunter2@h:1/0",
        "redis://:a@hunter2@:1/0",
        "redis://:hunter2",
        "redis://h/0;redis://:hunter2@h/0",
        "http://h/0?password=hunter2",
        ":hunter2@h:1",
        "redis:/:hunter2@h",
        "redis://h:hunter2",
    ],
)
@pytest.mark.parametrize("variable", ["CELERY_BROKER_URL", "LEDGER_REDIS_URL"])
def test_no_password_in_an_error(variable: str, url: str) -> None:
    with pytest.raises(SettingsError) as caught:
        load_settings({variable: url})
    assert "hunter2" not in str(caught.value)
    assert variable in str(caught.value)
    assert caught.value.__suppress_context__ or caught.value.__context__ is None


def test_no_password_in_an_error_of_a_setting_that_should_hold_none() -> None:
    with pytest.raises(SettingsError) as caught:
        load_settings({"SERVICE_SEARCH_BASEPATH": "redis://:hunter2@h", "REDIS_HOST": "redis://:hunter2@h"})
    assert "hunter2" not in str(caught.value)


def test_no_password_in_the_settings_as_text() -> None:
    settings = load_settings({"CELERY_BROKER_URL": "redis://:hunter2@h"})
    assert settings.ledger_redis_url == "redis://:hunter2@h"
    assert "hunter2" not in repr(settings) + str(settings)


def test_settings_are_frozen() -> None:
    with pytest.raises(FrozenInstanceError):
        load_settings({}).group_size = 1  # type: ignore[misc]  # what it must refuse


def test_only_the_documented_names_are_read_and_only_where_one_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GROUP_SIZE", "4")
    monkeypatch.setenv("BRIDGE_GROUP_SIZE", "3")
    assert load_settings({}).group_size == load_settings({"GROUP_SIZE": "4"}).group_size == 100
    given = load_settings({"ENV": "dev", "BRIDGE_GROUP_SIZE": "7"})
    assert (given.group_size, given.kafka_input_topic) == (7, "dev.batch.enrolment.sync.request")
    assert load_settings().group_size == 3


def test_import_reads_no_setting() -> None:
    ended = subprocess.run(
        [sys.executable, "-c", "import reconciliation.settings, reconciliation.settings_reference"],
        env=os.environ | {"CONFIG_FILE": "/nowhere", "REDIS_PORT": "x"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (ended.returncode, ended.stderr) == (0, "")


def test_page_is_in_step_with_the_catalogue() -> None:
    assert PAGE.read_text(encoding="utf-8") == reference()


def test_the_table_in_the_readme_is_in_step() -> None:
    readme = (PAGE.parents[1] / "README.md").read_text(encoding="utf-8")
    assert embedded(readme) == readme, "run: make settings"
    assert "| `kafka.groupId` | `KAFKA_GROUPID` |" in readme


def test_the_content_service_s_keyspaces_are_named_after_the_environment_where_they_can_be() -> None:
    named = load_settings({"ENV": "prod"})
    assert (named.hierarchy_relations_keyspace, named.content_hierarchy_keyspace) == ("prod_hierarchy_store",) * 2
    unnamed = load_settings({"ENV": "prod-1"})
    assert (unnamed.hierarchy_relations_keyspace, unnamed.content_hierarchy_keyspace) == (None, None)
    from_table = {"ENV": "prod-1", "RELATIONS_SOURCES": "redis,cassandra"}
    with pytest.raises(SettingsError) as caught:
        load_settings(from_table)
    (line,) = str(caught.value).splitlines()
    assert line.startswith("lms-cassandra.hierarchy_relations.keyspace (LMS_CASSANDRA_HIERARCHY_RELATIONS_KEYSPACE)")
    given = load_settings({**from_table, "LMS_CASSANDRA_HIERARCHY_RELATIONS_KEYSPACE": "store"})
    assert given.hierarchy_relations_keyspace == "store"
    with pytest.raises(SettingsError) as caught:
        load_settings({"ENV": "a b", "RELATIONS_SOURCES": "cassandra"})
    assert "hierarchy_relations" not in str(caught.value)
