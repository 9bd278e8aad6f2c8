"""The settings of a process, from the environment, CONFIG_FILE and the defaults; see docs/settings.md.

The catalogue of settings is in settings_servers.py, with a module for each server, settings_behaviour.py,
settings_courtesies.py and settings_observation.py. Nothing is read when this module is imported: call `load_settings`.
"""

import os
import re
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any

from pydantic import ValidationError, model_validator
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from reconciliation.errors import SettingsError
from reconciliation.settings_behaviour import BehaviourSettings
from reconciliation.settings_courtesies import CourtesySettings
from reconciliation.settings_kinds import ENVIRONMENT, Kind
from reconciliation.settings_observation import ObservationSettings
from reconciliation.settings_servers import ServerSettings
from reconciliation.settings_sources import (
    Documented,
    Given,
    environment_variable,
    read_environment,
    read_file,
    shown,
)

_PLACEHOLDER = re.compile(r"\{\{\s*env\s*\}\}")
_ENVIRONMENT = "environment"


class Settings(ObservationSettings, CourtesySettings, BehaviourSettings, ServerSettings):
    """The settings of one process; spans of time are in seconds. `load_settings` makes it.

    Calling the class itself reads no source: it takes keyword arguments and fills in the defaults.
    """

    model_config = SettingsConfigDict(frozen=True, validate_default=True, hide_input_in_errors=True)

    _warnings: tuple[str, ...] = ()

    @property
    def warnings(self) -> tuple[str, ...]:
        """What is doubtful about where the values came from, a line each; for the log, once there is one."""
        return self._warnings

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],  # noqa: ARG003 - pydantic-settings' signature
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - as above
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - as above
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - as above
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Take keyword arguments alone: `load_settings` reads the sources by the documented names."""
        return (init_settings,)

    @model_validator(mode="before")
    @classmethod
    def _fill_placeholders(cls, values: dict[str, Any]) -> dict[str, Any]:
        """Put the environment's name for {{env}}, in what is given and in defaults."""
        filled = {name: field.default for name, field in cls.model_fields.items() if _has_placeholder(field)}
        filled |= values
        environment = _environment_name(values.get(_ENVIRONMENT))
        return {
            name: _PLACEHOLDER.sub(environment, value) if isinstance(value, str) and name != _ENVIRONMENT else value
            for name, value in filled.items()
        }


def _environment_name(given: object) -> str:
    default: str = Settings.model_fields[_ENVIRONMENT].default
    if given is None:
        return default
    try:
        return str(ENVIRONMENT.parse(str(given).strip()))
    except ValueError:
        # a wrong name has an error of its own; it is not told again for every value that it is part of
        return default


def _has_placeholder(field: FieldInfo) -> bool:
    return isinstance(field.default, str) and _PLACEHOLDER.search(field.default) is not None


def documented(field: FieldInfo) -> Documented:
    """Give a field's names and what it does."""
    return next(item for item in field.metadata if isinstance(item, Documented))


def allowed(field: FieldInfo) -> str:
    """Say what a field may be, in words that complete "must be …"."""
    return next(item.allowed for item in field.metadata if isinstance(item, Kind))


@cache
def process_settings() -> Settings:
    """Give this process's settings, read from its environment at the first call.

    Raises SettingsError as `load_settings` does.
    """
    return load_settings()


def load_settings(environment: Mapping[str, str] = os.environ) -> Settings:
    """Read the settings: the environment wins over the file that CONFIG_FILE names, the file over the defaults.

    Raises SettingsError, one line for each wrong setting: its name, where it stands, its value (a password never
    shows) and what is allowed.
    """
    problems: list[str] = []
    warnings: list[str] = []
    fields = {name: documented(field) for name, field in Settings.model_fields.items()}
    in_environment: dict[str, Given | None] = {}
    for name, field in fields.items():
        try:
            in_environment[name] = read_environment(field, environment, warnings)
        except SettingsError as error:
            problems.append(str(error))
            in_environment[name] = None
    if problems:
        # what hangs on a secret that could not be read would only add lines that mislead
        raise SettingsError("\n".join(problems))
    in_file = _read_config_file(fields, environment, in_environment[_ENVIRONMENT], problems, warnings)
    given = {name: value for name in fields if (value := in_environment[name] or in_file.get(name)) is not None}
    try:
        settings = Settings.model_validate({name: value.text for name, value in given.items()})
    except ValidationError as error:
        problems += _lines(error, given)
    else:
        settings._warnings = tuple(warnings)  # noqa: SLF001 - made here, and read through `warnings`
        if not problems:
            return settings
    # the validation error is not chained: its details hold values as they were given, passwords too
    raise SettingsError("\n".join(problems))


def _read_config_file(
    fields: Mapping[str, Documented],
    environment: Mapping[str, str],
    environment_name: Given | None,
    problems: list[str],
    warnings: list[str],
) -> dict[str, Given]:
    """Find what CONFIG_FILE's file gives; what is wrong or doubtful about it is added to `problems` or `warnings`."""
    path = environment.get("CONFIG_FILE", "")
    if not path.strip():
        return {}
    # its parser takes a tenth of a process's start, and most are configured by the environment alone
    from reconciliation.settings_hocon import read_hocon  # noqa: PLC0415 - as said

    variables = dict(environment)
    if environment_name is not None:
        variables |= dict.fromkeys(fields[_ENVIRONMENT].names, environment_name.text)
    try:
        file = read_hocon(path, variables)
    except SettingsError as error:
        problems += str(error).splitlines()
        return {}
    warnings += [f"CONFIG_FILE: {it} is not there and is passed over" for it in file.absent]
    given: dict[str, Given] = {}
    for name, field in fields.items():
        try:
            value = read_file(field, file, warnings)
        except SettingsError as error:
            problems.append(str(error))
        else:
            given |= {name: value} if value is not None else {}
    return given


def _lines(error: ValidationError, given: Mapping[str, Given]) -> Iterator[str]:
    """Say in one line each what is wrong."""
    for detail in error.errors(include_url=False):
        # only tells that another setting, which has its own line, is wrong
        if detail["type"] == "default_factory_not_called":
            continue
        name = str(detail["loc"][0])
        field = Settings.model_fields[name]
        about = documented(field)
        where = given[name].where if name in given else "its default"
        if detail["input"] is None:
            where = environment_variable(about.name)
        hint = str(detail.get("ctx", {}).get("error", ""))
        value = "not set" if detail["input"] is None else shown(str(detail["input"]), secret=about.secret)
        yield (f"{about.name} ({where}) is {value}, but must be {allowed(field)}{'; ' if hint else ''}{hint}")
