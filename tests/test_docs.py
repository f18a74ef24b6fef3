"""Documents that are generated are those of the code and the records."""

import pytest

from bench.runs.catalogue import ROOT
from bench.tools import docs


@pytest.mark.parametrize("name", ["methods", "attacks"])
def test_a_document_is_the_codes(name):
    """If this fails: make docs."""
    assert (ROOT / f"docs/{name}.md").read_text() == getattr(docs, name)()
