"""Makes docs/settings.md, the table in README.md and the Helm chart's list from the catalogue: `make settings`."""

import json
from pathlib import Path

from reconciliation.settings import catalogue
from reconciliation.settings_catalogue import Setting
from reconciliation.settings_kinds import FILE
from reconciliation.settings_sources import environment_variable

_MARK = "<!-- settings: made by `make settings` -->\n"
_END_MARK = "<!-- end of settings -->"

_INTRODUCTION = """\
# Settings

<!-- Made by `make settings`: change the catalogue, not this page. -->

## Where a value comes from

The first of these that gives a setting a value wins:

1. the environment;
2. the file that `CONFIG_FILE` names;
3. the default.

Empty counts as not set, in both the environment and the file. Blanks around a value are dropped.

A setting's variable is its name in upper case, with one underscore for each run of characters other than letters
and digits: `kafka.groupId` is `KAFKA_GROUPID`. Some settings have a second spelling, which the Flink job's own
file uses. Both are accepted in both places. Where one place holds both and they differ, the documented spelling
(the first in the table) is used, and a warning in the log names them.

A setting that may hold a password can stand in a file of its own: its variable with `_FILE` at its end names the
file, as in `REDIS_PASSWORD_FILE=/run/secrets/redis`. [Secured servers](secured-servers.md) says more, and what goes
together to log in. Files are read more than once while a process starts, so none may be a pipe (`<(…)`).

`{{env}}` in any value stands for the environment's name, which is `ENV`.

## The file

`CONFIG_FILE` names a HOCON file, and the Flink job's `enrolment-reconciliation.conf` works as it is, together with
the `base-config.conf` beside it. Keys that mean nothing here are passed over. Details:

- `include "name"` and `include file("name")` are followed, relative to the file they stand in. A file that is not
  there is passed over with a warning in the log, as HOCON has it; `include required("name")` makes it an error. URLs,
  packages and patterns are refused.
- `${name}` is looked up in the file, then in the environment; `${job.env}` and `${env}` then take `ENV`. A
  `${name}` that nothing fills is an error, `${?name}` is left out. So where the file has a `job.env` of its own,
  names that the file builds with `${job.env}` carry that one, whatever `ENV` says.
- Each of our settings needs a plain value: a block, a list or a duration such as `5 seconds` is an error. Only
  `kafka.options` may be a block of plain values.

## When something is wrong

A process that starts with a wrong setting ends at once and says so: one line for each, with its name, where it
stands, what it is and what it may be. User names, passwords and queries in URLs are never shown.

A port that reads `tcp://…` was put there by Kubernetes for a service of that name. Set `enableServiceLinks: false`
in the pod's specification, or set the variable yourself.

## All settings

"""

_HEAD = """\
| Name | Environment variable | Default | Allowed | What it does |
|---|---|---|---|---|
"""


def reference() -> str:
    """Write the whole page, Markdown with a line break at its end."""
    return _INTRODUCTION + table()


def table() -> str:
    """Write the table of all settings, one row each."""
    return _HEAD + "".join(map(_row, catalogue().values()))


def _row(setting: Setting) -> str:
    about = setting.about
    names = "<br>".join(f"`{name}`" for name in about.names)
    variables = "<br>".join(f"`{environment_variable(name)}`" for name in about.names)
    text = about.about + (" May hold a password, so it is never logged." if about.secret else "")
    cells = (names, variables, about.default or _default(setting.default), setting.kind.allowed, text)
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |\n"


def _default(value: object) -> str:
    if value is None:
        return "(none)"
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    if isinstance(value, tuple):
        return f"`{','.join(value)}`"
    return f"`{value:.15g}`" if isinstance(value, float) else f"`{value}`"


def embedded(readme: str) -> str:
    """Put the table into README's text, between its two marks."""
    before, _, rest = readme.partition(_MARK)
    _, end, after = rest.partition(_END_MARK)
    return before + _MARK + "\n" + table() + "\n" + end + after


def chart_list() -> str:
    """Write what the Helm chart has to know: every spelling of a setting and whether it is plain, a secret or a file.

    JSON with a line break at its end.
    """
    kinds = {name: _kind(setting) for setting in catalogue().values() for name in setting.about.names}
    return json.dumps(kinds, indent=2) + "\n"


def _kind(setting: Setting) -> str:
    if setting.about.secret:
        return "secret"
    return "file" if setting.kind is FILE else "plain"


if __name__ == "__main__":
    Path("docs/settings.md").write_text(reference(), encoding="utf-8")
    Path("README.md").write_text(embedded(Path("README.md").read_text(encoding="utf-8")), encoding="utf-8")
    Path("deploy/helm/enrolment-reconciliation/settings.json").write_text(chart_list(), encoding="utf-8")
