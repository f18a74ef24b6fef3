"""Documents that are generated are those of the code."""

from bench.runs.catalogue import ROOT
from bench.tools.method import docs


def test_the_table_of_methods_is_the_codes():
    """If this fails: make docs."""
    assert (ROOT / "docs/methods.md").read_text() == docs()
