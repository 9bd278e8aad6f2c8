"""CONFIG_FILE: the Flink job's files as they are, and what is said of a file that can't be read."""

from pathlib import Path

import pytest

from reconciliation.errors import SettingsError
from reconciliation.settings import load_settings

DATA = Path(__file__).parent / "test_settings_data"


def written(folder: Path, text: str, name: str = "job.conf") -> str:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return str(path)


def problem(environment: dict[str, str]) -> str:
    with pytest.raises(SettingsError) as caught:
        load_settings(environment)
    text = str(caught.value)
    assert len(text.splitlines()) == 1
    assert text.isprintable()
    return text


def test_the_flink_jobs_files_as_they_are() -> None:
    settings = load_settings({"CONFIG_FILE": str(DATA / "enrolment-reconciliation.conf")})
    assert settings.environment == "staging"
    assert settings.kafka_broker_servers == "kafka-1:9092,kafka-2:9092"
    assert settings.kafka_input_topic == "staging.batch.enrolment.sync.request"
    assert settings.kafka_audit_topic == "staging.telemetry.raw"
    assert settings.kafka_output_failed_topic == "staging.enrolment.reconciliation.failed"
    assert settings.kafka_certissue_topic == "staging.issue.certificate.request"
    assert settings.kafka_group_id == "staging-enrolment-reconciliation-group"
    assert settings.cassandra_hosts == ("cassandra-1", "cassandra-2")
    assert settings.cassandra_port == 9042
    assert settings.cassandra_keyspace == "staging_courses"
    assert settings.cassandra_multi_datacenter is True
    assert (settings.redis_host, settings.redis_port) == ("10.0.0.12", 6379)
    assert settings.relation_cache_database == 12
    assert settings.batch_write_size == 20
    assert settings.module_aggregates_enabled is False
    assert settings.filter_processed_enrolments is True
    assert settings.collection_status_cache_expiry == 7200
    assert settings.search_base_path == "http://search.example.org:9000/search"
    assert settings.group_size == 100


def test_the_environment_wins_over_the_file_in_either_spelling() -> None:
    settings = load_settings(
        {
            "CONFIG_FILE": str(DATA / "enrolment-reconciliation.conf"),
            "KAFKA_OUTPUT_AUDIT_TOPIC": "a",
            "LMS_CASSANDRA_CONTENT_CONSUMPTION_TABLE": "c",
            "REDIS_PORT": "1",
            "ENV": "prod",
        }
    )
    assert (settings.kafka_audit_topic, settings.content_consumption_table) == ("a", "c")
    assert (settings.redis_port, settings.environment) == (1, "prod")


def test_both_spellings_in_the_file_the_documented_one_wins_with_a_warning(tmp_path: Path) -> None:
    path = written(tmp_path, "kafka { audit.topic = documented, output.audit.topic = other }")
    settings = load_settings({"CONFIG_FILE": path})
    assert settings.kafka_audit_topic == "documented"
    (said,) = settings.warnings
    assert f"kafka.audit.topic in {path} is used" in said
    assert f"kafka.output.audit.topic in {path} is passed over" in said


@pytest.mark.parametrize("variable", ["ENV", "JOB_ENV"])
def test_substitution_is_filled_by_the_environments_name(tmp_path: Path, variable: str) -> None:
    path = written(tmp_path, 'kafka.input.topic = ${job.env}".in"\naudit.channel = ${env}')
    settings = load_settings({"CONFIG_FILE": path, variable: "prod"})
    assert (settings.kafka_input_topic, settings.audit_channel) == ("prod.in", "prod")


def test_substitution_looks_in_the_file_first_whatever_the_order(tmp_path: Path) -> None:
    path = written(tmp_path, 'kafka.input.topic = ${job.env}".in"\njob { env = "dev" }\njob.env = "qa"')
    settings = load_settings({"CONFIG_FILE": path, "ENV": "prod"})
    assert (settings.kafka_input_topic, settings.environment) == ("qa.in", "prod")


def test_substitution_from_an_ordinary_variable_and_optional_ones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CACHE", "from-the-process")
    path = written(
        tmp_path,
        "redis.host = ${CACHE}\nredis.port = 7000\nredis.port = ${?CACHE_PORT}\nlog.level = ${?NOWHERE}",
    )
    settings = load_settings({"CONFIG_FILE": path, "CACHE": "cache-1"})
    assert (settings.redis_host, settings.redis_port, settings.log_level) == ("cache-1", 7000, "info")
    assert load_settings({"CONFIG_FILE": path, "CACHE": "c", "CACHE_PORT": "7001"}).redis_port == 7001


def test_an_empty_variable_fills_no_substitution(tmp_path: Path) -> None:
    path = written(tmp_path, "redis.port = 7000\nredis.port = ${?CACHE_PORT}")
    assert load_settings({"CONFIG_FILE": path, "CACHE_PORT": ""}).redis_port == 7000
    path = written(tmp_path, 'kafka.input.topic = ${PREFIX}".in"')
    assert "no value in the file or the environment for ${PREFIX} (" in problem({"CONFIG_FILE": path, "PREFIX": ""})


def test_forms_that_people_write(tmp_path: Path) -> None:
    path = written(
        tmp_path,
        "{\r\n"
        "  service.search.basePath = http://search:9000/s # unquoted\r\n"
        "  redis { host : cache-1.example.org, port : 6380 }  // colons and commas\r\n"
        '  "lms-cassandra" { "host" : "10.1.2.3" }\r\n'
        "  base { env = dev }\r\n"
        "  job = ${base}\r\n"
        "  kafka.input.topic = ${job.env}.in\r\n"
        "  redis.timeout = 2.5\r\n"
        "}\r\n",
    )
    settings = load_settings({"CONFIG_FILE": path})
    assert settings.search_base_path == "http://search:9000/s"
    assert (settings.redis_host, settings.redis_port) == ("cache-1.example.org", 6380)
    assert settings.cassandra_hosts == ("10.1.2.3",)
    assert (settings.environment, settings.kafka_input_topic) == ("dev", "dev.in")
    assert settings.redis_timeout == 2.5


def test_missing_substitution_is_named_with_its_place(tmp_path: Path) -> None:
    path = written(tmp_path, '# ${not.this}\nkafka.input.topic = ${job.env}".in"')
    said = problem({"CONFIG_FILE": path})
    assert said == f"CONFIG_FILE: no value in the file or the environment for ${{job.env}} ({path}, line 2)"


def test_all_missing_substitutions_stand_in_one_line_each_name_once(tmp_path: Path) -> None:
    path = written(tmp_path, 'kafka.input.topic = ${job.env}".in"\nkafka.groupId = ${job.env}"-"${team}')
    said = problem({"CONFIG_FILE": path})
    assert said.count("\n") == 0
    assert f"${{job.env}} ({path}, line 1), ${{team}} ({path}, line 2)" in said
    assert said.count("job.env") == 1


def test_substitution_in_a_circle(tmp_path: Path) -> None:
    assert "CONFIG_FILE" in problem({"CONFIG_FILE": written(tmp_path, "a = ${b}\nb = ${a}")})


def test_nested_includes_are_relative_to_their_file(tmp_path: Path) -> None:
    written(tmp_path, "redis.port = 1\nredis.host = deep", "common/deep/base.conf")
    written(tmp_path, 'include file("deep/base.conf")\nredis.port = 2', "common/middle.conf")
    path = written(tmp_path, 'include required(file("common/middle.conf"))\nlog { level = debug }')
    settings = load_settings({"CONFIG_FILE": path})
    assert (settings.redis_host, settings.redis_port, settings.log_level) == ("deep", 2, "debug")


@pytest.mark.parametrize("include", ['include "base-config.conf"', 'include file("base-config.conf")'])
def test_an_include_that_is_not_there_is_passed_over_with_a_warning(tmp_path: Path, include: str) -> None:
    path = written(tmp_path, f'{include}\nkafka.input.topic = ${{job.env}}".in"')
    settings = load_settings({"CONFIG_FILE": path, "ENV": "prod"})
    assert settings.kafka_input_topic == "prod.in"
    (said,) = settings.warnings
    assert (
        said
        == f"CONFIG_FILE: {tmp_path / 'base-config.conf'} (included by {path}, line 1) is not there and is passed over"
    )


def test_the_word_include_elsewhere_is_none(tmp_path: Path) -> None:
    path = written(
        tmp_path,
        '# include "a"\n// include "b"\nx = "say include \\"c\\""\ny = """\ninclude "d"\n"""\nredis.port = 3',
    )
    assert load_settings({"CONFIG_FILE": path}).redis_port == 3


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('include required("absent.conf")', ("absent.conf", "included by", "No such file")),
        (
            'include "absent.conf"\nkafka.input.topic = ${job.env}".in"',
            ("${job.env}", "absent.conf (included by", "not there"),
        ),
        ('a = 1\ninclude url("http://127.0.0.1/x")', ("line 2", "must name one file")),
        ('include "http://127.0.0.1/x"', ("line 1", "must name one file")),
        ('include package("os:x")', ("line 1", "must name one file")),
        ('include "*.conf"', ("line 1", "must name one file")),
        ('include "job.conf"', ("include each other",)),
        ("a {", ("not HOCON", "line 1")),
        ("a = 1\nb = {\n", ("not HOCON", "line")),
        ("just words", ("not HOCON", "line 1")),
        ("[1, 2]", ("a list stands there",)),
        ("redis.port { a = 1 }", ("redis.port in", "a block")),
        ("lms-cassandra.host = [a, b]", ("lms-cassandra.host in", "a list")),
        ("redis.timeout = 5 seconds", ("redis.timeout in", "a duration")),
        ("redis.port = 70000", ("redis.port (redis.port in", "'70000'", "1 to 65535")),
        (
            "kafka.output.audit.topic = a b",
            ("kafka.audit.topic (kafka.output.audit.topic in", "'a b'"),
        ),
    ],
)
def test_what_is_said_of_a_wrong_file(tmp_path: Path, text: str, words: tuple[str, ...]) -> None:
    path = written(tmp_path, text)
    said = problem({"CONFIG_FILE": path})
    assert "CONFIG_FILE" in said or path in said
    assert [word for word in words if word not in said] == []


def test_syntax_error_of_an_included_file_names_that_file(tmp_path: Path) -> None:
    inner = written(tmp_path, "a = 1\nb = [1, 2\nc = 3 }", "inner.conf")
    said = problem({"CONFIG_FILE": written(tmp_path, 'include "inner.conf"\nredis.port = 1')})
    assert said.startswith(f"CONFIG_FILE: {inner} is not HOCON: its syntax is wrong at line ")


def test_what_is_said_of_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    assert "No such file" in problem({"CONFIG_FILE": str(tmp_path / "absent.conf")})
    assert "it is a directory" in problem({"CONFIG_FILE": str(tmp_path)})
    assert "no regular file" in problem({"CONFIG_FILE": "/dev/zero"})
    assert "null character" in problem({"CONFIG_FILE": "a\0b"})
    (tmp_path / "latin.conf").write_bytes(b"a = \xff")
    assert "not UTF-8" in problem({"CONFIG_FILE": str(tmp_path / "latin.conf")})
    (tmp_path / "large.conf").write_bytes(b"#" * 1_000_001)
    assert "larger than" in problem({"CONFIG_FILE": str(tmp_path / "large.conf")})
    assert "CONFIG_FILE" in problem({"CONFIG_FILE": str(tmp_path / "odd\nname")})


def test_a_wrong_file_and_a_wrong_variable_have_a_line_each(tmp_path: Path) -> None:
    with pytest.raises(SettingsError) as caught:
        load_settings({"CONFIG_FILE": str(tmp_path / "absent"), "LOG_LEVEL": "loud"})
    first, second = str(caught.value).splitlines()
    assert (first[:11], second[:9]) == ("CONFIG_FILE", "log.level")


def test_blank_null_and_empty_values_count_as_not_set(tmp_path: Path) -> None:
    path = written(tmp_path, '\ufeffredis.port = null\nservice.search.basePath = ""\nlog.level = ${?N}\nlog.format =')
    assert load_settings({"CONFIG_FILE": path}) == load_settings({"CONFIG_FILE": " "})
