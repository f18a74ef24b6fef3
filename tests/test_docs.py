"""Documents that are generated are those of the code, and the links of all lead somewhere."""

import re
import sys
from collections import Counter

import pytest

from bench import __main__ as program
from bench.runs.catalogue import ROOT
from bench.tools import docs
from report import shapes

PAGES = sorted(
    str(path.relative_to(ROOT))
    for path in [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), ROOT / "results/README.md"]
)


@pytest.mark.parametrize("name", ["methods", "attacks"])
def test_a_document_is_the_codes(name):
    """If this fails: make docs."""
    assert (ROOT / f"docs/{name}.md").read_text() == getattr(docs, name)()


def test_the_shapes_are_those_of_the_published_records():
    """If this fails: make docs."""
    assert (ROOT / "docs/shapes.md").read_text() == shapes.published()


def test_one_command_writes_all_documents(monkeypatch):
    written = []
    for module in (docs, shapes):
        monkeypatch.setattr(module, "write_bytes", lambda path, text: written.append(path.name))
    for module, text in ((docs, "methods"), (docs, "attacks"), (shapes, "published")):
        monkeypatch.setattr(module, text, lambda: "")
    monkeypatch.setattr(sys, "argv", ["bench", "docs"])
    program.main()
    assert written == ["methods.md", "attacks.md", "shapes.md"]


def prose(page):
    """A page's text without its blocks of code."""
    return re.sub(r"^```.*?^```$", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)


def anchors(page):
    """The names that GitHub gives a page's headings."""
    seen = Counter()
    for heading in re.findall(r"^#+ (.+)$", prose(page), re.MULTILINE):
        text = re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", heading)
        name = re.sub(r"[^\w -]", "", text.lower()).replace(" ", "-")
        yield f"{name}-{seen[name]}" if seen[name] else name
        seen[name] += 1


def dead(page):
    """The links of a page that lead to no file, or to no heading of a page."""
    text = re.sub(r"`[^`\n]*`", "", prose(page))
    for link in re.findall(r"\]\(([^)\s]+)\)", text):
        name, _, anchor = link.partition("#")
        other = page.parent / name if name else page
        if "://" not in link and not (
            other.exists() and (not anchor or anchor in anchors(other))
        ):  # fmt: skip
            yield link


@pytest.mark.parametrize("name", PAGES)
def test_links_lead_somewhere(name):
    assert [*dead(ROOT / name)] == []


def test_a_link_to_nothing_is_found(tmp_path):
    (tmp_path / "b.md").write_text("# A `b` of c\n\n```\n# code\n```\n## A b of c\n")
    page = tmp_path / "a.md"
    page.write_text("""# Top
[1](b.md) [2](b.md#a-b-of-c-1) [3](#top) [`4`](https://nowhere/) `[5](c.md)`
[6](c.md) [7](b.md#code) [8](b.md#a-b-of-c-2) [9](#below)
""")
    assert [*dead(page)] == ["c.md", "b.md#code", "b.md#a-b-of-c-2", "#below"]


def test_the_readme_is_short_and_leads_to_every_page():
    text = (ROOT / "README.md").read_text()
    assert len(text.splitlines()) <= 330
    pages, reached = {path.name: path for path in ROOT.glob("docs/*.md")}, set()
    found = {*re.findall(r"\]\(docs/([^)#]+\.md)", text)}
    while found:
        reached |= found
        texts = [pages[name].read_text() for name in found]
        found = {*re.findall(r"\]\((\w[^)/#:]*\.md)", "".join(texts))} & pages.keys() - reached
    assert reached == pages.keys()
