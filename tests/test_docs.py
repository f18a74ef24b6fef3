"""Documents that are generated are those of the code and the records."""

import sys

import pytest

from bench import __main__ as program
from bench.runs.catalogue import ROOT
from bench.tools import docs
from report import shapes


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
