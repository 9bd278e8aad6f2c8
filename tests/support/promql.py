"""Which metrics and labels a PromQL expression uses: as much of its grammar as dashboards and alerts need."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

_TOKEN = re.compile(
    r"""
    (?P<blank>\s+)
  | (?P<string>"(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*')
  | (?P<span>\[[^\]]*\])
  | (?P<word>[A-Za-z_:][A-Za-z0-9_:]*)
  | (?P<number>[0-9][0-9.]*(?:[smhdwy]|e[-+]?[0-9]+)?)
  | (?P<sign>=~|!~|!=|==|<=|>=|[-+*/%^<>=(){},@])
    """,
    re.VERBOSE,
)
_OPERATORS = frozenset({"and", "or", "unless", "bool", "offset", "inf", "nan"})
#: What a list of labels in brackets comes after.
_LABEL_LISTS = frozenset({"by", "without", "on", "ignoring", "group_left", "group_right"})
_AGGREGATIONS = frozenset({"sum", "max", "min", "avg", "count", "topk", "bottomk", "quantile", "stddev", "group"})


@dataclass(frozen=True, slots=True)
class Used:
    """What an expression uses.

    `labels` holds pairs of a metric and a label that a matcher of it names, `listed` the labels that a grouping or a
    join names, whatever metrics it is of.
    """

    metrics: frozenset[str]
    labels: frozenset[tuple[str, str]]
    listed: frozenset[str]


def read(expression: str) -> Used:
    """Find what an expression uses. Raises ValueError where it can't be read."""
    tokens = [*_tokens(expression), ("end", "")]
    metrics: set[str] = set()
    labels: set[tuple[str, str]] = set()
    listed: set[str] = set()
    at = 0
    while tokens[at][0] != "end":
        kind, text = tokens[at]
        at += 1
        if kind != "word" or text.lower() in _OPERATORS:
            continue
        if text in _LABEL_LISTS:
            at = _take_list(tokens, at, listed, optional=text.startswith("group_"))
        elif tokens[at][1] != "(" and text not in _AGGREGATIONS:
            metrics.add(text)
            at = _take_matchers(tokens, at, text, labels)
    return Used(frozenset(metrics), frozenset(labels), frozenset(listed))


def _tokens(expression: str) -> Iterator[tuple[str, str]]:
    at = 0
    while at < len(expression):
        found = _TOKEN.match(expression, at)
        if found is None or found.lastgroup is None:
            raise ValueError(f"not PromQL at {expression[at : at + 20]!r}: {expression}")
        at = found.end()
        if found.lastgroup != "blank":
            yield found.lastgroup, found[0]


def _take_list(tokens: list[tuple[str, str]], at: int, listed: set[str], *, optional: bool) -> int:
    """Read `(a, b)`; gives where it ends."""
    if tokens[at][1] != "(":
        if optional:
            return at
        raise ValueError(f"a list of labels is missing before {tokens[at][1]!r}")
    while tokens[at][1] != ")":
        kind, text = tokens[at]
        if kind == "end":
            raise ValueError("a list of labels does not end")
        if kind == "word":
            listed.add(text)
        at += 1
    return at + 1


def _take_matchers(tokens: list[tuple[str, str]], at: int, metric: str, labels: set[tuple[str, str]]) -> int:
    """Read `{a="b", c=~"d"}` where there is one; gives where it ends."""
    if tokens[at][1] != "{":
        return at
    at += 1
    while tokens[at][1] != "}":
        (kind, label), (_, sign), (value_kind, _) = tokens[at : at + 3]
        if kind != "word" or sign not in ("=", "!=", "=~", "!~") or value_kind != "string":
            raise ValueError(f"a matcher of {metric} can't be read at {label!r}")
        labels.add((metric, label))
        at += 3
        if tokens[at][1] == ",":
            at += 1
    return at + 1
