"""What each kind of setting may be: every kind turns a setting's text into its value, or says what is allowed.

See docs/settings.md. A value arrives as text from the environment or the file, and as a plain value from a default.
"""

import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_WHOLE_NUMBER = re.compile(r"[+-]?[0-9]{1,15}(\.0+)?", re.ASCII)
_NUMBER = re.compile(r"[+-]?[0-9]{1,15}(\.[0-9]{1,15})?", re.ASCII)
_TOPIC = re.compile(r"[A-Za-z0-9._-]{1,249}", re.ASCII)
_ENVIRONMENT = re.compile(r"[A-Za-z0-9._-]{1,100}", re.ASCII)
_CQL_IDENTIFIER = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,47}", re.ASCII)
_HOST = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9._-]{0,251}[A-Za-z0-9_])?|[0-9A-Fa-f:.]*:[0-9A-Fa-f:.]*", re.ASCII)
_BROKER = re.compile(r"(?P<host>[A-Za-z0-9_]([A-Za-z0-9._-]*[A-Za-z0-9_])?|\[[0-9A-Fa-f:.]+\]):(?P<port>[0-9]{1,5})")
_SERVICE_LINK = re.compile(r"(tcp|udp|sctp)://", re.IGNORECASE)
_TRUE = frozenset({"true", "yes", "on", "1"})
_FALSE = frozenset({"false", "no", "off", "0"})
_LARGEST_PORT = 65535
_HEADER = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,100}:[ \t]*[\x21-\x7e]([\x20-\x7e]*[\x21-\x7e])?", re.ASCII)
_TOKEN = re.compile(r"[\x21-\x7e]+", re.ASCII)
_LONGEST_SECRET = 4096


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of value: `allowed` completes the sentence "must be …"; `parse` raises ValueError on anything else.

    A ValueError's own text, where it has one, is a hint that the error's line adds. Blanks around a value are dropped
    unless `keeps_blanks`: in a password they may be meant.
    """

    allowed: str
    parse: Callable[[str], Any]
    keeps_blanks: bool = False

    def value(self, given: object) -> Any:
        """Turn what is given, a text or a default, into a value; None stays None. Raises ValueError as `parse` does."""
        if given is None:
            return None
        text = ",".join(map(str, given)) if isinstance(given, tuple) else str(given)
        return self.parse(text if self.keeps_blanks else text.strip())


def _plain_number(text: str, shape: re.Pattern[str]) -> float:
    if _SERVICE_LINK.match(text):
        raise ValueError(
            "this is a Kubernetes service link, put there for a service of that name: set enableServiceLinks: false"
            " in the pod's specification, or set this variable"
        )
    if shape.fullmatch(text) is None:
        raise ValueError
    return float(text)


def whole_number(least: int, most: int, *, unit: str = "") -> Kind:
    """Whole numbers from `least` to `most`, both allowed; `unit` is told with the bounds."""

    def parse(text: str) -> int:
        number = int(_plain_number(text, _WHOLE_NUMBER))
        if not least <= number <= most:
            raise ValueError
        return number

    return Kind(f"a whole number{unit} from {least} to {most}", parse)


def seconds(least: float, most: float) -> Kind:
    """Spans of time in seconds from `least` to `most`, fractions allowed."""

    def parse(text: str) -> float:
        number = _plain_number(text, _NUMBER)
        if not (math.isfinite(number) and least <= number <= most):
            raise ValueError
        return number

    return Kind(f"a number of seconds from {least:.15g} to {most:.15g}", parse)


def _matching(shape: re.Pattern[str]) -> Callable[[str], str]:
    def parse(text: str) -> str:
        if shape.fullmatch(text) is None:
            raise ValueError
        return text

    return parse


def _parse_topic(text: str) -> str:
    if text in {".", ".."}:
        raise ValueError
    return _matching(_TOPIC)(text)


def _parse_switch(text: str) -> bool:
    word = text.lower()
    if word in _TRUE:
        return True
    if word in _FALSE:
        return False
    raise ValueError


def _parse_optional_port(text: str) -> int:
    number = int(_plain_number(text, _WHOLE_NUMBER))
    if not 0 <= number <= _LARGEST_PORT:
        raise ValueError
    return number


def _parse_host(text: str) -> str:
    # one colon and digits is "host:9042", not an IPv6 address
    if re.fullmatch(r"[^:]+:[0-9]+", text):
        raise ValueError("the port has a setting of its own")
    return _matching(_HOST)(text)


def _parse_hosts(text: str) -> tuple[str, ...]:
    return tuple(_parse_host(host.strip()) for host in text.split(","))


def _parse_brokers(text: str) -> str:
    brokers = [broker.strip() for broker in text.split(",")]
    for broker in brokers:
        found = _BROKER.fullmatch(broker)
        if found is None or not 1 <= int(found["port"]) <= _LARGEST_PORT:
            raise ValueError
    return ",".join(brokers)


def _parse_short_text(text: str) -> str:
    if not 1 <= len(text) <= 128 or not text.isprintable():  # noqa: PLR2004 - the number stands in `allowed`
        raise ValueError
    return text


def _parse_file(text: str) -> str:
    if not text.isprintable():
        raise ValueError
    try:
        with Path(text).open("rb") as file:
            file.read(1)
    except OSError as error:
        raise ValueError(error.strerror or "it can't be opened") from None
    return text


def _parse_secret(text: str) -> str:
    if not 1 <= len(text) <= _LONGEST_SECRET or "\n" in text or "\r" in text or "\0" in text:
        raise ValueError
    return text


def _parse_header(text: str) -> tuple[str, str]:
    if _HEADER.fullmatch(text) is None:
        raise ValueError
    name, _, value = text.partition(":")
    return name, value.strip()


def one_of(*words: str) -> Kind:
    """One of these words, in any case; the value is the word as it stands here."""
    known = {word.lower(): word for word in words}

    def parse(text: str) -> str:
        if text.lower() not in known:
            raise ValueError
        return known[text.lower()]

    return Kind("one of " + ", ".join(words), parse)


def in_order(*words: str) -> Kind:
    """One of these words or several, separated by commas, none twice; the value is a tuple in the given order."""

    def parse(text: str) -> tuple[str, ...]:
        given = tuple(word.strip().lower() for word in text.split(","))
        if not set(given) <= set(words) or len(set(given)) < len(given):
            raise ValueError
        return given

    return Kind(f"{', '.join(words[:-1])} or {words[-1]}, or several of them in order, separated by commas", parse)


SWITCH = Kind("true or false (or yes, no, on, off, 1, 0)", _parse_switch)
PORT = whole_number(1, _LARGEST_PORT)
PORT_OR_OFF = Kind(f"a whole number from 1 to {_LARGEST_PORT}, or 0 for off", _parse_optional_port)
TOPIC = Kind('a Kafka topic\'s name: 1 to 249 letters, digits, ".", "_" and "-" (not "." or ".." alone)', _parse_topic)
GROUP_ID = Kind('1 to 249 letters, digits, ".", "_" and "-"', _matching(_TOPIC))
ENVIRONMENT = Kind('1 to 100 letters, digits, ".", "_" and "-"', _matching(_ENVIRONMENT))
CQL_IDENTIFIER = Kind("a letter followed by at most 47 letters, digits and underscores", _matching(_CQL_IDENTIFIER))
HOST = Kind("one host name or address, without a port", _parse_host)
HOSTS = Kind("host names or addresses without ports, separated by commas", _parse_hosts)
BROKERS = Kind("host:port pairs separated by commas", _parse_brokers)
FILE = Kind("the path of a file that can be read", _parse_file)
SECRET = Kind(f"1 to {_LONGEST_SECRET} characters without line breaks", _parse_secret, keeps_blanks=True)
HEADER = Kind("a header as in `Name: value`, of ASCII characters", _parse_header)
BEARER_TOKEN = Kind("a token of ASCII characters without blanks", _matching(_TOKEN))
SHORT_TEXT = Kind("1 to 128 printable characters", _parse_short_text)
