"""What a catalogue of settings is made of: frozen dataclasses whose fields say what they may be; see docs/settings.md.

Plain Python: pydantic, which checks the values, is loaded by settings_validation.py alone, when settings are read.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import MISSING, Field, dataclass, fields
from typing import Any, TypeVar, get_args

from reconciliation.settings_kinds import Kind
from reconciliation.settings_sources import Documented

#: Values by their field's name: of the settings that stand before another one, those that are right.
Others = Mapping[str, Any]

_Part = TypeVar("_Part")


@dataclass(frozen=True, slots=True)
class Check:
    """How a setting goes with those before it.

    `checked` takes a value of the setting's kind, None where it is not given, and the others; it returns the value that
    counts. It raises ValueError where they don't go together, with a text that the error's line adds.
    """

    checked: Callable[[Any, Others], Any]


def used_only_with(switch: str, name: str) -> Check:
    """Refuse a value that would not be used, since the field `switch`, a setting called `name`, is off."""

    def checked(value: Any, others: Others) -> Any:
        if value is not None and others.get(switch) is False:
            raise ValueError(f"{name} is false, and it would not be used")
        return value

    return Check(checked)


@dataclass(frozen=True, slots=True)
class DefaultFrom:
    """Makes a setting's default of those before it; asked only where all of them are right."""

    make: Callable[[Others], Any]


@dataclass(frozen=True, slots=True)
class Setting:
    """One setting of a catalogue: its field's name, what it may be, how it is told, and what it is when not given.

    `default` is None where `default_from` makes it.
    """

    field: str
    kind: Kind
    about: Documented
    checks: tuple[Check, ...]
    default: Any
    default_from: DefaultFrom | None


def settings_of(catalogue: type) -> dict[str, Setting]:
    """Give a catalogue's settings by their field's name, in their order; fields that are none are left out."""
    return {field.name: _setting(field) for field in fields(catalogue) if _parts(field, Documented)}


def _setting(field: Field[Any]) -> Setting:
    (kind,), (about,) = _parts(field, Kind), _parts(field, Documented)
    default_from = next(iter(_parts(field, DefaultFrom)), None)
    if (default_from is None) == (field.default is MISSING):
        raise TypeError(f"{about.name} needs a default, or something that makes it")
    default = None if field.default is MISSING else field.default
    return Setting(field.name, kind, about, tuple(_parts(field, Check)), default, default_from)


def _parts(field: Field[Any], part: type[_Part]) -> list[_Part]:
    """Find what stands beside the type in a field's Annotated."""
    found: Iterable[object] = get_args(field.type)
    return [it for it in found if isinstance(it, part)]
