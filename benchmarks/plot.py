"""Draws what `make bench` wrote: `python -m benchmarks.plot bench.json docs/images`."""

import json
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click
import pygal
from pygal.style import Style

#: Requests a second of every round, by the setting that is plotted.
Rates = Mapping[int, list[float]]

#: Dark on white, which reads on a dark page too; the figures stand above their bars, so few lines are needed.
STYLE = Style(
    background="#ffffff",
    plot_background="#ffffff",
    foreground="#333333",
    foreground_strong="#111111",
    foreground_subtle="#dddddd",
    opacity=1.0,
    colors=("#1f6fb4", "#9a9a9a"),
    font_family="sans-serif",
    guide_stroke_color="#e4e4e4",
    major_guide_stroke_color="#e4e4e4",
    guide_stroke_dasharray="none",
    major_guide_stroke_dasharray="none",
    title_font_size=17,
    label_font_size=13,
    major_label_font_size=13,
    legend_font_size=13,
    value_font_size=13,
)


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
        title=f"Requests a second by {asked}, {fixed} (median)",
        x_title=asked,
        style=STYLE,
        width=720,
        height=400,
        range=(0, _round_up(max(statistics.median(it) for it in (*rates.values(), bare)))),
        y_labels_major_every=1,
        legend_at_bottom=True,
        legend_at_bottom_columns=2,
        print_values=True,
        print_values_position="top",
        value_formatter="{:,.0f}".format,
        js=[],
    )
    chart.x_labels = [str(value) for value in sorted(rates)]
    chart.add("the product", [statistics.median(rates[value]) for value in sorted(rates)])
    chart.add("the bare loop, one at a time", [statistics.median(bare)] * len(rates))
    chart.render_to_file(str(path))


def _round_up(rate: float) -> int:
    """Give the next multiple of 200 that leaves room for the figure above the highest bar."""
    return (int(rate * 1.08) // 200 + 1) * 200


if __name__ == "__main__":
    main()
