"""Every link within the documents leads somewhere, and so does every alert's; the tests they name are there."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGES = [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")]
ALERTS = ROOT / "deploy/prometheus/alerts.yml"

_LINK = re.compile(r"\]\(([^)\s]+)\)")
_RUNBOOK = re.compile(r"runbook_url: (\S+)")
_HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)
_FENCE = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)
#: A file of tests that a page names, by its path or, as the table of faults does, by its name.
_TESTS = re.compile(r"`((?:tests/[\w/]+/)?test_\w+)(?:\.py)?`")


def anchors(page: Path) -> set[str]:
    """Give the anchors that a page's headings get where it is shown: in small letters, dashes for blanks."""
    text = _FENCE.sub("", page.read_text(encoding="utf-8"))
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in _HEADING.findall(text)}


def leads_somewhere(link: str, beside: Path) -> bool:
    name, _, anchor = link.partition("#")
    target = (beside / name).resolve() if name else beside
    return target.exists() and (not anchor or anchor in anchors(target))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_a_page_s_links_lead_somewhere(page: Path) -> None:
    links = [link for link in _LINK.findall(page.read_text(encoding="utf-8")) if "://" not in link]
    broken = [link for link in links if not leads_somewhere(link, page if link.startswith("#") else page.parent)]
    assert broken == []


def test_every_alert_leads_to_a_heading_of_the_runbook() -> None:
    links = _RUNBOOK.findall(ALERTS.read_text(encoding="utf-8"))
    assert links
    assert [link for link in links if not leads_somewhere(link, ROOT)] == []


def test_every_page_is_named_by_the_readme() -> None:
    named = set(_LINK.findall((ROOT / "README.md").read_text(encoding="utf-8")))
    assert {f"docs/{page.name}" for page in ROOT.glob("docs/*.md")} <= named


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_the_tests_that_a_page_names_are_there(page: Path) -> None:
    named = set(_TESTS.findall(page.read_text(encoding="utf-8")))
    homes = (ROOT, ROOT / "tests/faults")
    assert sorted(name for name in named if not any((home / f"{name}.py").is_file() for home in homes)) == []


def test_every_folder_is_in_the_readme_s_table() -> None:
    rows = re.findall(r"^\| (`.+?`) \| ", (ROOT / "README.md").read_text(encoding="utf-8"), re.MULTILINE)
    named = {folder for row in rows for folder in re.findall(r"`(\w+)/`", row)}
    assert named == {path.parent.name for path in ROOT.glob("*/__init__.py")} | {"deploy", "docs"}
