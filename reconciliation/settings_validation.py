"""Checks given settings against a catalogue, with pydantic; see docs/settings.md.

Loaded when settings are read and not before: it takes a tenth of a worker's memory (settings_apart.py).
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Annotated, Any

from pydantic import AfterValidator, Field, PlainValidator, ValidationError, ValidationInfo, create_model
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from reconciliation.errors import SettingsError
from reconciliation.settings_catalogue import Check, Setting
from reconciliation.settings_sources import Given, environment_variable, shown


class _Values(BaseSettings):
    """What every model of a catalogue has in common."""

    model_config = SettingsConfigDict(validate_default=True, hide_input_in_errors=True)

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],  # noqa: ARG003 - pydantic-settings' signature
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - as above
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - as above
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - as above
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Take keyword arguments alone: settings.py reads the sources by the documented names."""
        return (init_settings,)


class Validation:
    """Checks against one catalogue, its settings by their field's name."""

    def __init__(self, catalogue: Mapping[str, Setting]) -> None:
        self._catalogue = catalogue
        self._model = create_model("Values", __base__=_Values, **{name: _field(it) for name, it in catalogue.items()})

    def values(self, texts: Mapping[str, str], given: Mapping[str, Given]) -> dict[str, Any]:
        """Turn texts, by their field's name, into the values of all settings, with defaults where none is.

        `given` tells where a text stands. Raises SettingsError, one line for each setting that is wrong.
        """
        try:
            values = self._model.model_validate(texts)
        except ValidationError as error:
            lines = list(_lines(self._catalogue, error, given))
        else:
            return {name: getattr(values, name) for name in self._catalogue}
        # the validation error is not chained: its details hold values as they were given, passwords too
        raise SettingsError("\n".join(lines))


def _field(setting: Setting) -> Any:
    """Describe a setting to pydantic: a type with its validators, and a default."""
    checks = (AfterValidator(_beside_others(it)) for it in setting.checks)
    taken = Annotated[Any, PlainValidator(setting.kind.value), *checks]
    if setting.default_from is not None:
        return taken, Field(default_factory=setting.default_from.make)
    return taken, Field(default=setting.default)


def _beside_others(check: Check) -> Callable[[Any, ValidationInfo], Any]:
    def checked(value: Any, others: ValidationInfo) -> Any:
        return check.checked(value, others.data)

    return checked


def _lines(catalogue: Mapping[str, Setting], error: ValidationError, given: Mapping[str, Given]) -> Iterator[str]:
    """Say in one line each what is wrong."""
    for detail in error.errors(include_url=False):
        # only tells that another setting, which has its own line, is wrong
        if detail["type"] == "default_factory_not_called":
            continue
        setting = catalogue[str(detail["loc"][0])]
        about = setting.about
        where = given[setting.field].where if setting.field in given else "its default"
        if detail["input"] is None:
            where = environment_variable(about.name)
        hint = str(detail.get("ctx", {}).get("error", ""))
        value = "not set" if detail["input"] is None else shown(str(detail["input"]), secret=about.secret)
        allowed = setting.kind.allowed
        yield f"{about.name} ({where}) is {value}, but must be {allowed}{'; ' if hint else ''}{hint}"
