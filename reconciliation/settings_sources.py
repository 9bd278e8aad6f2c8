"""Where settings come from: the environment, a HOCON file and the names that both use.

See docs/settings.md. Nothing here knows a particular setting; settings.py holds the catalogue.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from reconciliation.errors import SettingsError

if TYPE_CHECKING:
    from reconciliation.settings_hocon import HoconFile

#: What a variable's name ends with that names the file of a secret.
FILE_SUFFIX = "_FILE"
_LARGEST_SECRET_FILE = 65_536
_LONGEST_SHOWN = 120
_SCHEME_AND_REST = re.compile(r"(?P<scheme>[a-z][a-z0-9+]{0,15})://(?P<rest>.*)", re.IGNORECASE | re.DOTALL)
_ADDRESS = re.compile(r"(\*\*\*@)?[a-z0-9._-]*(:[0-9]{1,5})?(/[0-9]{0,4})?", re.IGNORECASE | re.ASCII)


@dataclass(frozen=True, slots=True)
class Documented:
    """What a setting is called and what it does.

    `name` is the documented dotted name, `alternatives` are the spellings accepted beside it, `about` says in a
    sentence what it does, `secret` that its value may hold a password (it may then stand in a file of its own),
    `default` how documentation tells a default that depends on other settings, `is_block` that a HOCON file may hold a
    block there.
    """

    name: str
    about: str
    alternatives: tuple[str, ...] = ()
    secret: bool = False
    default: str | None = None
    is_block: bool = False

    @property
    def names(self) -> tuple[str, ...]:
        """Every accepted spelling, the documented one first."""
        return (self.name, *self.alternatives)


@dataclass(frozen=True, slots=True)
class Given:
    """One value as a source gave it: its text, and the words that tell the reader of an error where it stands."""

    text: str
    where: str


def environment_variable(name: str) -> str:
    """Name the environment variable of a dotted name: upper case, anything between letters and digits is one "_"."""
    return re.sub(r"[^A-Z0-9]+", "_", name.upper())


def read_environment(documented: Documented, environment: Mapping[str, str], warnings: list[str]) -> Given | None:
    """Find a setting in the environment; None where no spelling is set, or only to an empty text.

    A secret may stand in a file that a variable of its name and `_FILE` names. Two spellings that differ add a line to
    `warnings`. Raises SettingsError where both are set, or the file can't be read.
    """

    def look_up(name: str) -> Given | None:
        variable = environment_variable(name)
        text = environment.get(variable, "").strip()
        file = environment.get(variable + FILE_SUFFIX, "").strip() if documented.secret else ""
        if text and file:
            raise SettingsError(
                f"{documented.name}: both {variable} and {variable}{FILE_SUFFIX} are set; unset one of them"
            )
        if file:
            return Given(_content(f"{variable}{FILE_SUFFIX}", file), f"{variable}{FILE_SUFFIX} in the environment")
        return Given(text, f"{variable} in the environment") if text else None

    return _choose(documented, look_up, warnings)


def _content(variable: str, path: str) -> str:
    """Read a secret: the file's text without one line break at its end."""
    shown_path = path if path.isprintable() else ascii(path)
    try:
        with Path(path).open("rb") as file:
            content = file.read(_LARGEST_SECRET_FILE + 1)
        # some editors put a byte order mark before a text: no password begins with one
        text = content.decode("utf-8-sig")
    except OSError as error:
        reason = error.strerror or "it can't be opened"
    except UnicodeDecodeError:
        reason = "it is not UTF-8"
    except ValueError:
        reason = "a path can't hold a null character"
    else:
        text = text.removesuffix("\n").removesuffix("\r")
        reason = "it is empty" if not text.strip() else ""
        if len(content) > _LARGEST_SECRET_FILE:
            reason = f"it is larger than {_LARGEST_SECRET_FILE} bytes"
        if not reason:
            return text
    # outside of the handlers, so not chained: an error of decoding holds what it could not decode
    raise SettingsError(f"{variable}: can't read {shown_path}: {reason}")


def read_file(documented: Documented, file: "HoconFile", warnings: list[str]) -> Given | None:
    """Find a setting in a HOCON file; None where no spelling is there, or only as null or an empty text.

    Two spellings that differ add a line to `warnings`. Raises SettingsError where the file holds a block, a list or a
    duration under that name.
    """

    def look_up(name: str) -> Given | None:
        text = file.options(name) if documented.is_block else file.text(name).strip()
        return Given(text, f"{name} in {file.shown_path}") if text else None

    return _choose(documented, look_up, warnings)


def _choose(documented: Documented, look_up: Callable[[str], Given | None], warnings: list[str]) -> Given | None:
    """Take the first spelling that is given; warn of each later one that says something else."""
    found = _found(map(look_up, documented.names))
    if not found:
        return None
    chosen, *others = found
    warnings += [
        f"two spellings of {documented.name} differ: {chosen.where} is used, {other.where} is passed over"
        for other in others
        if other.text != chosen.text
    ]
    return chosen


def _found(candidates: Iterable[Given | None]) -> list[Given]:
    return [candidate for candidate in candidates if candidate is not None]


def shown(text: str, *, secret: bool) -> str:
    """Show a value in an error: quoted, on one line, shortened, and with no user or password of a URL.

    Of a secret only the scheme is shown, and the address where it can't be anything else.
    """
    # greedy on purpose: an unescaped "/", "@" or "?" in a password must not end the mask early
    masked = re.sub(r"(?<=://).*@", "***@", text, flags=re.DOTALL)
    if secret:
        found = _SCHEME_AND_REST.fullmatch(masked)
        if found is None:
            return "(not shown: it may hold a password)"
        masked = masked if _ADDRESS.fullmatch(found["rest"]) else f"{found['scheme']}://***"
    quoted = ascii(masked)
    return quoted if len(quoted) <= _LONGEST_SHOWN else quoted[:_LONGEST_SHOWN] + "…'"
