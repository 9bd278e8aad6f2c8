"""Reads an operator's HOCON file, the Flink job's own as it is; see docs/settings.md.

pyhocon does the parsing. What it passes over in silence is looked at here first: an include that isn't there, a
substitution that nothing fills.
"""

import json
import logging
import re
import stat
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pyhocon import ConfigFactory, ConfigParser, ConfigTree
from pyhocon.exceptions import ConfigException, ConfigMissingException, ConfigSubstitutionException
from pyparsing import ParseBaseException

from reconciliation.errors import SettingsError

_LARGEST_FILE = 1_000_000
_DEEPEST_INCLUDE = 10
# Strings and comments come first, so that an include or a substitution within one is not taken for one.
_TOKEN = re.compile(
    r'"""(?s:.*?)"""'
    r'|"(?:[^"\\\n]|\\.)*"'
    r"|(?:\#|//)[^\n]*"
    r"|\$\{(?P<optional>\?)?(?P<variable>[^}]+)\}"
    r"|(?<![\w.-])include[ \t]+(?P<include>[^\n]*)",
    re.IGNORECASE,
)
_INCLUDED_FILE = re.compile(
    r'(?P<required>required[ \t]*\([ \t]*)?(?:file[ \t]*\([ \t]*)?"(?P<path>[^"\n]+)"', re.IGNORECASE
)


@dataclass(frozen=True, slots=True)
class _Use:
    """One mandatory substitution: what it names, and the place where it stands."""

    variable: str
    place: str


@dataclass(frozen=True, slots=True)
class HoconFile:
    """A file that was read, with its includes and substitutions worked in; `shown_path` is fit for a line of text.

    `absent` says of each include that isn't there, and need not be, where it stands.
    """

    shown_path: str
    tree: ConfigTree
    absent: tuple[str, ...] = ()

    def text(self, name: str) -> str:
        """Give the text of a dotted name, empty where the file has none or null.

        Raises SettingsError where a block, a list or a duration stands there.
        """
        return self._plain(name, self.tree.get(name, None))

    def options(self, name: str) -> str:
        """Give what stands under a dotted name as `text` does; a block as a JSON object, its names dotted.

        Raises SettingsError where the block holds anything but plain values.
        """
        value = self.tree.get(name, None)
        if not isinstance(value, ConfigTree):
            return self._plain(name, value).strip()
        held = {key: self._plain(f"{name}.{key}", held) for key, held in _leaves(value)}
        return json.dumps(held) if held else ""

    def _plain(self, name: str, value: object) -> str:
        if value is None:
            return ""
        if isinstance(value, bool):
            return str(value).lower()
        if isinstance(value, str | int | float):
            return str(value)
        what = "a block" if isinstance(value, dict) else "a list" if isinstance(value, list) else "a duration"
        raise SettingsError(f"{name} in {self.shown_path} is {what}, but must be a plain value")


def _leaves(tree: ConfigTree, prefix: str = "") -> Iterator[tuple[str, object]]:
    """Yield what a block holds, with its dotted name; pyhocon keeps the quotes of a name that has them."""
    for key, value in tree.items():
        name = prefix + key.strip('"')
        if isinstance(value, ConfigTree):
            yield from _leaves(value, f"{name}.")
        else:
            yield name, value


def read_hocon(path: str, variables: Mapping[str, str]) -> HoconFile:
    """Read the file that CONFIG_FILE names.

    `variables` fill the substitutions that the file itself leaves open. Raises SettingsError, one line each for
    what is wrong, naming CONFIG_FILE and the place.
    """
    parsed = None
    uses: list[_Use] = []
    absent: list[str] = []
    # Included files come first, and each is parsed alone: pyhocon takes an include whose file does not parse for a
    # key named "include" and complains of the wrong place (config_parser.py, parse: include_expr | assign_expr).
    for file, text in _with_includes(Path(path), (), absent):
        parsed = _parse(file, text)
        for token in _TOKEN.finditer(text):
            if token["variable"] is not None and token["optional"] is None:
                line = text.count("\n", 0, token.start()) + 1
                uses.append(_Use(token["variable"], f"{_show(file)}, line {line}"))
    if not isinstance(parsed, ConfigTree):
        raise SettingsError(f"CONFIG_FILE {_show(path)}: a list stands there, but it must hold settings")
    try:
        _resolve(parsed, path, uses, variables)
    except SettingsError as error:
        missing = "".join(f"; {it} is not there" for it in absent)
        raise SettingsError(f"{error}{missing}") from None
    return HoconFile(_show(path), parsed, tuple(absent))


def _with_includes(path: Path, parents: tuple[Path, ...], absent: list[str]) -> Iterator[tuple[Path, str]]:
    """Yield every file that `path` includes, innermost first, then itself, each with its text.

    An include that isn't there is added to `absent`, as HOCON has it, unless it is `required`.
    """
    text = _read(path, parents)
    if len(parents) >= _DEEPEST_INCLUDE:
        raise SettingsError(
            f"CONFIG_FILE: {_show(path)} is included {len(parents)} files deep; do files include each other?"
        )
    for token in _TOKEN.finditer(text):
        if token["include"] is None:
            continue
        target = _INCLUDED_FILE.match(token["include"])
        line = text.count("\n", 0, token.start()) + 1
        if target is None or "://" in target["path"] or "*" in target["path"] or "?" in target["path"]:
            raise SettingsError(
                f"CONFIG_FILE: {_show(path)}, line {line}: an include must name one file,"
                ' as include "name" or include file("name")'
            )
        included = path.parent / target["path"]
        if target["required"] is None and not included.exists():
            absent.append(f"{_show(included)} (included by {_show(path)}, line {line})")
            continue
        yield from _with_includes(included, (*parents, path), absent)
    yield path, text


def _read(path: Path, parents: tuple[Path, ...]) -> str:
    included = f" (included by {_show(parents[-1])})" if parents else ""
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            reason = "it is a directory" if stat.S_ISDIR(status.st_mode) else "it is no regular file"
        elif status.st_size > _LARGEST_FILE:
            reason = f"it is larger than {_LARGEST_FILE} bytes"
        else:
            return path.read_bytes().decode("utf-8-sig" if not parents else "utf-8")
    except OSError as error:
        reason = error.strerror or "it can't be opened"
    except UnicodeDecodeError:
        reason = "it is not UTF-8"
    except ValueError:
        reason = "a path can't hold a null character"
    raise SettingsError(f"CONFIG_FILE: can't read {_show(path)}{included}: {reason}")


def _parse(path: Path, text: str) -> Any:
    # of an include that isn't there pyhocon tells too, and through a name of logging's that is on its way out
    # (config_parser.py, parse_file): `_with_includes` has told already
    logging.getLogger("pyhocon").setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            return ConfigFactory.parse_string(text, basedir=str(path.parent), resolve=False)
    except ParseBaseException as error:
        place = f"line {error.lineno}, column {error.column}"
    except Exception as error:  # noqa: BLE001 - pyhocon lets through whatever its own code trips over (TypeError, KeyError, …)
        place = f"somewhere ({type(error).__name__})"
    raise SettingsError(f"CONFIG_FILE: {_show(path)} is not HOCON: its syntax is wrong at {place}")


def _resolver(variables: Mapping[str, str]) -> Any:
    """Make pyhocon look for a substitution in the file, then in `variables`, where an empty text is none.

    pyhocon itself looks in the process's environment and takes an empty text for a value (config_parser.py,
    ConfigParser._resolve_variable), so that `port = ${?PORT}` with an empty PORT would undo the port set before it.
    """

    class Resolver(ConfigParser):  # type: ignore[misc] # pyhocon ships no types
        @classmethod
        def _resolve_variable(cls, config: ConfigTree, substitution: Any) -> tuple[bool, Any]:
            try:
                return True, config.get(substitution.variable)
            except ConfigMissingException:
                value = variables.get(substitution.variable) or None
            if value is None and not substitution.optional:
                raise ConfigSubstitutionException(substitution.variable)
            return value is not None, value

    return Resolver


def _resolve(tree: ConfigTree, path: str, uses: list[_Use], variables: Mapping[str, str]) -> None:
    """Work the substitutions in: from the file, then from `variables`."""
    try:
        _resolver(variables).resolve_substitutions(tree)
    except ConfigException:
        missing = [use for use in uses if use.variable not in tree and not variables.get(use.variable)]
        if not missing:
            raise SettingsError(f"CONFIG_FILE: {_show(path)}: substitutions lead in a circle") from None
        # each name once, at its first place, however often it is used
        places = {f"${{{_show(use.variable)}}}": use.place for use in reversed(missing)}
        named = ", ".join(f"{name} ({place})" for name, place in reversed(places.items()))
        raise SettingsError(f"CONFIG_FILE: no value in the file or the environment for {named}") from None
    except Exception as error:  # noqa: BLE001 - as in _parse
        raise SettingsError(
            f"CONFIG_FILE: {_show(path)}: its substitutions can't be resolved ({type(error).__name__})"
        ) from None


def _show(path: Path | str) -> str:
    text = str(path)
    return text if text.isprintable() else ascii(text)
