"""Draws what `make bench` wrote: `python -m benchmarks.plot bench.json docs/images`."""

import json
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click
import pygal
from pygal.style import LightColorizedStyle

#: Requests a second of every round, by the setting that is plotted.
Rates = Mapping[int, list[float]]


@click.command()
@click.argument("source", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False))
@click.option("--workers", default=2, show_default=True, help="Of the plot by group size.")
@click.option("--group-size", default=100, show_default=True, help="Of the plot by workers.")
def main(source: Path, folder: Path, workers: int, group_size: int) -> None:
    """Draw requests a second against group size and against workers, from SOURCE into FOLDER."""
    found = json.loads(source.read_text())
    folder.mkdir(parents=True, exist_ok=True)
    bare = [found["shape"]["learners"] / it["seconds"] for compared in found["compared"] for it in compared["bare"]]
    for name, other, fixed in (("group_size", "workers", workers), ("workers", "group_size", group_size)):
        chosen = [it for it in found["compared"] if it["setting"][other] == fixed]
        rates = {it["setting"][name]: _rates(found, it) for it in chosen}
        text = {"group_size": "requests a task", "workers": "workers"}
        _draw(folder / f"throughput-by-{name.replace('_', '-')}.svg", text[name], f"{fixed} {text[other]}", rates, bare)


def _rates(found: Mapping[str, Any], compared: Mapping[str, Any]) -> list[float]:
    return [found["shape"]["learners"] / it["seconds"] for it in compared["product"]]


def _draw(path: Path, asked: str, fixed: str, rates: Rates, bare: Sequence[float]) -> None:
    chart = pygal.Bar(
        title=f"Requests a second by {asked}, {fixed}",
        x_title=asked,
        y_title="requests a second, median",
        style=LightColorizedStyle,
        width=720,
        height=400,
        legend_at_bottom=True,
        print_values=True,
        value_formatter="{:,.0f}".format,
        js=[],
    )
    chart.x_labels = [str(value) for value in sorted(rates)]
    chart.add("the product", [statistics.median(rates[value]) for value in sorted(rates)])
    chart.add("the bare loop, one at a time", [statistics.median(bare)] * len(rates))
    chart.render_to_file(str(path))


if __name__ == "__main__":
    main()
