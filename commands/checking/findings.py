"""What a check says: one finding a row, and what is told about a server that can't be reached. Pure."""

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from enum import StrEnum
from urllib.parse import unquote, urlsplit

from reconciliation.settings_sources import environment_variable
from reconciliation.settings_urls import split_urls


class State(StrEnum):
    """How one thing that was checked fares."""

    OK = "ok"
    WARNING = "warning"
    WRONG = "wrong"
    NOT_LOOKED_AT = "not looked at"


@dataclass(frozen=True, slots=True)
class Finding:
    """One row: `what` of which `server`, how it fares, what was seen, and what to do about it ("" where nothing)."""

    server: str
    what: str
    state: State
    detail: str
    next_step: str = ""


class Trouble(StrEnum):
    """Why a server can't be reached, as far as its client's words tell."""

    UNKNOWN_HOST = "no such host"
    REFUSED = "nothing listens there"
    TLS = "TLS is spoken on one side alone"
    PASSWORD = "the login is refused"  # noqa: S105 - a sentence about passwords
    SILENT = "no answer in time"
    OTHER = "no such server answers there"


_CAUSE = " <- "
_LONGEST_SHOWN = 300
# In this order: a TLS handshake that nobody answers is a time-out as well, and a host that can't be found or a port
# where nothing listens ends the same way for a client that tries on.
_SIGNS = {
    Trouble.UNKNOWN_HOST: (
        "name or service not known|failed to resolve|gaierror|nodename nor servname|unresolvable|"
        "temporary failure in name resolution|no address associated"
    ),
    Trouble.REFUSED: "connection refused|errno 111",
    Trouble.TLS: r"_ssl\.c|\bssl\b|sslerror|\btls\b|certificate",
    Trouble.PASSWORD: (
        "noauth|wrongpass|authentication|access_refused|unauthorized|username-password|invalid password|credentials"
    ),
    Trouble.SILENT: "timed out|timeout|timedout",
}


def trouble_of(told: str, address: str = "") -> Trouble:
    """Say what kind of trouble a client's words (see `words_of`) are about; hosts named in `address` are no sign."""
    for host in re.findall(r"[A-Za-z0-9_.-]{3,}", address):
        told = told.replace(host, "")
    return next((trouble for trouble, sign in _SIGNS.items() if re.search(sign, told, re.IGNORECASE)), Trouble.OTHER)


def words_of(error: BaseException) -> str:
    """Give an error's own words and then those of what caused it, on one line; see `brief`."""
    told: list[str] = []
    at: BaseException | None = error
    while at is not None:
        words = f"{type(at).__name__}: {at}".rstrip(": ")
        if not any(words in earlier for earlier in told):
            told.append(words)
        at = at.__cause__ or (None if at.__suppress_context__ else at.__context__)
    return " ".join(_CAUSE.join(told).split())


def brief(told: str) -> str:
    """Give of what `words_of` gave the error's own words, shortened: what caused it tells the kind of trouble alone."""
    own = told.partition(_CAUSE)[0]
    return own if len(own) <= _LONGEST_SHOWN else own[:_LONGEST_SHOWN] + "…"


def named(*settings: str) -> str:
    """Name settings as operators know them: the documented name and the environment variable."""
    return " and ".join(f"{name} ({environment_variable(name)})" for name in settings)


def unreachable(server: str, what: str, told: str, address: str, settings: str, **steps: str) -> Finding:
    """Tell of a server that does not answer at `address`, which `settings` names (see `named`).

    `told` is what its client said. `steps` are next steps of this server's own by the name of the trouble.
    """
    trouble = trouble_of(told, address)
    usual = {
        Trouble.UNKNOWN_HOST: f"correct {settings}, or the name service",
        Trouble.REFUSED: f"start it, or correct {settings}",
        Trouble.TLS: f"have both sides speak TLS, or none: {settings}",
        Trouble.PASSWORD: f"correct the user and password in {settings}",
        Trouble.SILENT: f"see whether it hangs, a firewall lies between, or another server is set: {settings}",
        Trouble.OTHER: f"see whether the right server and port are set: {settings}",
    }
    step = steps.get(trouble.name.lower(), usual[trouble])
    return Finding(server, what, State.WRONG, f"{address}: {trouble} ({brief(told)})", step)


def not_looked_at(server: str, whats: Iterable[str], reason: str) -> list[Finding]:
    """Give a row for each thing that could not be looked at."""
    return [Finding(server, what, State.NOT_LOOKED_AT, reason) for what in whats]


def secrets_of(urls: Iterable[str]) -> frozenset[str]:
    """Give the passwords in these URLs (several may stand in one, separated by semicolons), as written and decoded."""
    found: set[str] = set()
    for url in (single for together in urls for single in split_urls(together)):
        password = urlsplit(url).password
        if password:
            found |= {password, unquote(password)}
    return frozenset(found)


def without(secrets: Iterable[str], findings: Iterable[Finding]) -> list[Finding]:
    """Take these secrets out of every text, should some client's words hold one."""

    def hidden(text: str) -> str:
        for secret in sorted(secrets, key=len, reverse=True):
            text = text.replace(secret, "***")
        return text

    return [replace(one, detail=hidden(one.detail), next_step=hidden(one.next_step)) for one in findings]
