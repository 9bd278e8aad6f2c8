"""Takes the picture of docs/flower.md: `python -m tests.browser.picture docs/images/flower-tasks.png`.

On servers of its own, with ids that stand for nobody.
"""

import sys
import tempfile
from pathlib import Path

import click

from devstack.ports import free_ports
from devstack.stack import Stack
from tests.browser.chromium import Chromium, find_chromium
from tests.browser.stage import AUTHORIZATION, SETTINGS, Flower, load
from tests.faults.site import Site
from tests.support.installation import new_learner
from tests.support.tables import Learner

COURSES = ("do_2140007312", "do_2140007340", "do_2140007366", "do_2140007381")
#: How many learners of the first two courses click at once, beside the load.
CROWD = 60
SIZE = (1960, 800)
SCALE = 0.7


@click.command()
@click.argument("path", type=click.Path(path_type=Path, dir_okay=False))
def main(path: Path) -> None:
    """Take the picture of Flower's tasks to PATH, a PNG."""
    chromium = find_chromium()
    if chromium is None:
        sys.exit("There is no Chromium on PATH. Next step: install it (Debian: apt-get install chromium).")
    with tempfile.TemporaryDirectory(prefix="enrolment-picture-") as folder:
        stack = Stack(Path(folder) / "servers", free_ports())
        try:
            stack.up()
            _take(stack, Path(folder) / "logs", chromium, path)
        finally:
            stack.down(delete=True)


def _take(stack: Stack, logs: Path, chromium: str, path: Path) -> None:
    site = Site.build(stack.ports, logs, SETTINGS, workers=1)
    with site, Chromium(chromium, SIZE, AUTHORIZATION) as browser:
        flower = Flower(site, logs)
        try:
            flower.start()
            stage = load(site, flower, browser, COURSES)
            crowd = [_enrolled(site, COURSES[number % 2]) for number in range(CROWD)]
            site.sync(*crowd)
            shown = "document.querySelectorAll('#tasks-table tbody tr[id]').length"
            browser.open(f"{flower.address}/tasks", f"{shown} > {len(stage.learners) + 2}")
            browser.screenshot(path, SCALE)
            flower.process.end()
        finally:
            flower.process.kill()


def _enrolled(site: Site, course: str) -> Learner:
    learner = new_learner(course)
    site.tables.add_consumption({learner: {"a": 2, "b": 1}})
    site.tables.add_enrolments([learner])
    return learner


if __name__ == "__main__":
    main()
