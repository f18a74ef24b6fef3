"""The family of each method, and the paper to cite for it: what its docstring says of them."""

import functools
import re
from pathlib import Path

from bench.runs import catalogue

# by how a method attacks in training; "regularised" adds a term to the loss at one attacked image
FAMILIES = ("standard", "single-step", "multi-step", "regularised")
AUTOATTACK_KEY = "croce2020reliable"  # to cite for every table


def family(method: str, passes: float | None) -> str:
    """Look up a method's family; for one whose file is not here, guess it from the counted passes.

    Args:
        passes: forward and backward together, per training image and update; None if unmeasured.
    """
    if (said := described(method, "Family")) in FAMILIES:
        return said
    if passes is None:
        return "other"
    # the update takes one pass forward and one backward, and so does every attack step
    return "standard" if passes <= 2 else "single-step" if passes <= 4 else "multi-step"


@functools.cache
def entries() -> dict[str, str]:
    """Read the BibTeX entries of references.bib, by key."""
    text = (Path(__file__).parent / "references.bib").read_text(encoding="utf-8")
    found = re.finditer(r"^@\w+\{([\w-]+),.*?^\}$", text, re.MULTILINE | re.DOTALL)
    return {entry[1]: entry[0] for entry in found}


def citation_key(method: str) -> str | None:
    """Look up the key of a method's BibTeX entry; None if it has none."""
    key = described(method, "Cite")
    return key if key in entries() else None


def year(method: str) -> int | None:
    """Look up the year of a method's paper; None if it has none."""
    key = citation_key(method)
    found = re.search(r"^\s*year\s*=\s*\{?(\d{4})", entries()[key], re.MULTILINE) if key else None
    return int(found[1]) if found else None


@functools.cache
def described(method: str, word: str) -> str:
    """Read what a method's docstring says behind a word; an empty text if it cannot be read."""
    try:
        return catalogue.described(method, word)
    except (OSError, ValueError):  # records outlive files, and are read while one is being edited
        return ""
