"""The settings of a process, from the environment, CONFIG_FILE and the defaults; see docs/settings.md.

The catalogue of settings is in settings_servers.py, with a module for each server, settings_behaviour.py,
settings_courtesies.py and settings_observation.py. Nothing is read when this module is imported: call `load_settings`.
"""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING

from reconciliation.errors import SettingsError
from reconciliation.settings_behaviour import BehaviourSettings
from reconciliation.settings_catalogue import Setting, settings_of
from reconciliation.settings_courtesies import CourtesySettings
from reconciliation.settings_kinds import ENVIRONMENT
from reconciliation.settings_observation import ObservationSettings
from reconciliation.settings_servers import ServerSettings
from reconciliation.settings_sources import Given, read_environment, read_file

if TYPE_CHECKING:
    from reconciliation.settings_validation import Validation

_PLACEHOLDER = re.compile(r"\{\{\s*env\s*\}\}")
_ENVIRONMENT = "environment"

#: What `process_settings` gives, where another process has read it.
_GIVEN: "list[Settings]" = []


@dataclass(frozen=True, kw_only=True)
class Settings(ObservationSettings, CourtesySettings, BehaviourSettings, ServerSettings):
    """The settings of one process; spans of time are in seconds. `load_settings` makes it.

    Calling the class itself checks nothing. `warnings` says what is doubtful about where the values came from, a line
    each; for the log, once there is one.
    """

    warnings: tuple[str, ...] = field(default=(), repr=False, compare=False)


@cache
def catalogue() -> Mapping[str, Setting]:
    """Give every setting by its field's name, in the order in which they are read."""
    return settings_of(Settings)


@cache
def _validation() -> "Validation":
    # it takes a tenth of a worker's memory, and a worker has no need of it here (settings_apart.py)
    from reconciliation.settings_validation import Validation  # noqa: PLC0415 - as said

    return Validation(catalogue())


@cache
def process_settings() -> Settings:
    """Give this process's settings, read from its environment at the first call.

    Raises SettingsError as `load_settings` does.
    """
    return _GIVEN[0] if _GIVEN else load_settings()


def give_process_settings(settings: Settings) -> None:
    """Let `process_settings` give what another process has read for this one, before it is called."""
    _GIVEN[:] = [settings]


def load_settings(environment: Mapping[str, str] = os.environ) -> Settings:
    """Read the settings: the environment wins over the file that CONFIG_FILE names, the file over the defaults.

    Raises SettingsError, one line for each wrong setting: its name, where it stands, its value (a password never
    shows) and what is allowed.
    """
    problems: list[str] = []
    warnings: list[str] = []
    in_environment: dict[str, Given | None] = {}
    for name, setting in catalogue().items():
        try:
            in_environment[name] = read_environment(setting.about, environment, warnings)
        except SettingsError as error:
            problems.append(str(error))
            in_environment[name] = None
    if problems:
        # what hangs on a secret that could not be read would only add lines that mislead
        raise SettingsError("\n".join(problems))
    in_file = _read_config_file(environment, in_environment[_ENVIRONMENT], problems, warnings)
    given = {name: value for name in catalogue() if (value := in_environment[name] or in_file.get(name)) is not None}
    try:
        values = _validation().values(_texts(given), given)
    except SettingsError as error:
        problems += str(error).splitlines()
    if problems:
        raise SettingsError("\n".join(problems))
    return Settings(**values, warnings=tuple(warnings))


def _texts(given: Mapping[str, Given]) -> dict[str, str]:
    """Give the texts to be checked, with the environment's name for {{env}}, in what is given and in defaults."""
    defaults = {name: it.default for name, it in catalogue().items() if _has_placeholder(it.default)}
    texts = defaults | {name: value.text for name, value in given.items()}
    environment = _environment_name(given.get(_ENVIRONMENT))
    return {name: text if name == _ENVIRONMENT else _PLACEHOLDER.sub(environment, text) for name, text in texts.items()}


def _environment_name(given: Given | None) -> str:
    default: str = catalogue()[_ENVIRONMENT].default
    if given is None:
        return default
    try:
        return str(ENVIRONMENT.value(given.text))
    except ValueError:
        # a wrong name has an error of its own; it is not told again for every value that it is part of
        return default


def _has_placeholder(default: object) -> bool:
    return isinstance(default, str) and _PLACEHOLDER.search(default) is not None


def _read_config_file(
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
        variables |= dict.fromkeys(catalogue()[_ENVIRONMENT].about.names, environment_name.text)
    try:
        file = read_hocon(path, variables)
    except SettingsError as error:
        problems += str(error).splitlines()
        return {}
    warnings += [f"CONFIG_FILE: {it} is not there and is passed over" for it in file.absent]
    given: dict[str, Given] = {}
    for name, setting in catalogue().items():
        try:
            value = read_file(setting.about, file, warnings)
        except SettingsError as error:
            problems.append(str(error))
        else:
            given |= {name: value} if value is not None else {}
    return given
