"""What holds for any text: precedence, and that nothing but SettingsError comes out."""

import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from reconciliation.errors import SettingsError
from reconciliation.settings import Settings, catalogue, load_settings
from reconciliation.settings_sources import environment_variable

TOPICS = st.none() | st.from_regex(r"[a-z]{1,8}", fullmatch=True)
SPELLINGS = ("kafka.audit.topic", "kafka.output.audit.topic")
VARIABLES = [environment_variable(name) for setting in catalogue().values() for name in setting.about.names]
# What an environment can hold: any text without a null character, bytes that are no UTF-8 as lone surrogates.
TEXTS = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]) | st.sampled_from("\udc80\udcff"))
LIKELY = st.sampled_from(
    ["tcp://1", "redis://[", "redis://a:b@c:d", "nan", "1e999", "{{env}}", "\\1", "\\g<0>", "٣", "-0", "http://[::1"]
)


@given(st.tuples(TOPICS, TOPICS), st.tuples(TOPICS, TOPICS))
def test_environment_over_file_over_default_and_the_documented_spelling_first(
    in_environment: tuple[str | None, str | None], in_file: tuple[str | None, str | None]
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "job.conf"
        path.write_text("".join(f"{name} = {text}\n" for name, text in zip(SPELLINGS, in_file, strict=True) if text))
        environment = {
            environment_variable(name): text for name, text in zip(SPELLINGS, in_environment, strict=True) if text
        }
        loaded = load_settings(environment | {"CONFIG_FILE": str(path)})
    expected = next((text for text in (*in_environment, *in_file) if text is not None), "local.telemetry.raw")
    assert loaded.kafka_audit_topic == expected


@given(TOPICS, TOPICS)
def test_two_spellings_are_warned_of_only_where_they_differ(one: str | None, two: str | None) -> None:
    environment = {
        environment_variable(name): text for name, text in zip(SPELLINGS, (one, two), strict=True) if text is not None
    }
    differ = one is not None and two is not None and one != two
    assert len(load_settings(environment).warnings) == int(differ)


def lines_or_settings(environment: dict[str, str]) -> None:
    try:
        loaded = load_settings(environment)
    except SettingsError as error:
        lines = str(error).split("\n")
        assert all(line and line.isprintable() for line in lines)
        named = [line.split(" ")[0] for line in lines]
        assert len(set(named)) == len(named)
    else:
        assert isinstance(loaded, Settings)


@given(st.dictionaries(st.sampled_from(VARIABLES), TEXTS | LIKELY, max_size=6))
@hypothesis_settings(max_examples=300)
def test_any_environment_gives_settings_or_lines(environment: dict[str, str]) -> None:
    lines_or_settings(environment)


@pytest.mark.parametrize("variable", VARIABLES)
@given(text=TEXTS | LIKELY)
@hypothesis_settings(max_examples=25)
def test_any_text_of_one_variable_gives_settings_or_lines(variable: str, text: str) -> None:
    lines_or_settings({variable: text})


@given(TEXTS)
def test_any_config_file_gives_settings_or_lines(path: str) -> None:
    lines_or_settings({"CONFIG_FILE": path})


PIECES = st.sampled_from(
    (
        *("a", "redis.port", "redis", " = ", ":", "{", "}", "[", "]", ",", "\n", '"', '"""', "${a}", "${?b.c}"),
        *("#", "//", "include ", '"x"', "1", "5 s", "+=", "null", "true", "\\", "\r\n", "\t", "${", ".", "é"),
        *("job.env", "${job.env}"),
    )
)


@given(st.lists(PIECES, max_size=12).map("".join))
@hypothesis_settings(max_examples=300, deadline=None)
def test_any_contents_of_the_file_give_settings_or_lines(text: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "job.conf"
        path.write_bytes(text.encode())
        lines_or_settings({"CONFIG_FILE": str(path)})
