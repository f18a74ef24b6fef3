"""What files say of methods, data sets, papers and this project: names, families, citations."""

import functools
import re
from pathlib import Path
from typing import Any

from bench.runs import catalogue
from bench.runs.record import Config
from bench.runs.suite import read_yaml

AUTOATTACK_KEY = "croce2020reliable"  # to cite for every table


def family(method: str, passes: float | None) -> str:
    """Look up a method's family; for one whose file is not here, guess it from the counted passes.

    Args:
        passes: forward and backward together, per training image and update; None if unmeasured.
    """
    if (said := described(method, "Family")) in catalogue.FAMILIES:
        return said
    if passes is None:
        return "other"
    # the update takes one pass forward and one backward, and so does every attack step
    return "standard" if passes <= 2 else "single-step" if passes <= 4 else "multi-step"


@functools.cache
def title(method: str) -> str:
    """Look up how the field writes a method's name; its id if its file cannot be read."""
    try:
        return catalogue.title(method) or method
    except (OSError, ValueError, SyntaxError):
        return method


def settings(config: Config) -> dict[str, Any]:
    """List a run's settings, with those that it leaves out as added later, if these are known."""
    try:
        return catalogue.full_settings(config.method, config.settings)
    except (OSError, ValueError, SyntaxError):
        return config.settings


@functools.cache
def caution(dataset: str) -> str:
    """Look up what a data set's file warns of; an empty text if it cannot be read."""
    try:
        return catalogue.caution(dataset)
    except (OSError, ValueError, SyntaxError):
        return ""


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


def paper(key: str) -> dict[str, str]:
    """Read where a paper was published and where it can be read, off its BibTeX entry.

    Returns:
        "venue", as "ICLR 2020", and "link", which is empty if the entry has none.
    """
    entry = entries()[key]
    venue = re.search(r"(?:booktitle|journal) = \{.*\((\w+)\)\}", entry)
    venues = [venue[1] if venue else "arXiv", _year(entry)]
    link = ""
    for pattern, site in (
        (r"url = \{(https://[^}]+)\}", ""),
        (r"eprint = \{([\w./-]+)\}", "https://arxiv.org/abs/"),
        (r"OpenReview (\w+)", "https://openreview.net/forum?id="),
    ):
        if not link and (found := re.search(pattern, entry)):
            link = site + found[1]
    return {"venue": " ".join(venues).strip(), "link": link}


def code(method: str) -> str:
    """Look up the address of a method's code: the last repository on GitHub that Source: names."""
    _, _, said = described(method, "Source").partition("; code")
    found = re.findall(r"([\w.-]+/[\w-]+)(?:.*? at ([0-9a-f]{7,40}))?", said)
    if not found:
        return ""
    repository, commit = found[-1]
    return f"https://github.com/{repository}" + (f"/tree/{commit}" if commit else "")


def project() -> dict[str, str]:
    """Read what CITATION.cff says of this project, for citing it; no address if it names none."""
    said = read_yaml(catalogue.ROOT / "CITATION.cff")
    return {
        "title": said["title"],
        "authors": " and ".join(author["name"] for author in said["authors"]),
        "version": str(said["version"]),
        "repository": said.get("repository-code", ""),
    }


def year(method: str) -> int | None:
    """Look up the year of a method's paper; None if it has none."""
    key = citation_key(method)
    found = _year(entries()[key]) if key else ""
    return int(found) if found else None


def _year(entry: str) -> str:
    """Read the year of a BibTeX entry; an empty text if it has none."""
    found = re.search(r"year = \{(\d+)\}", entry)
    return found[1] if found else ""


@functools.cache
def described(method: str, word: str) -> str:
    """Read what a method's docstring says behind a word; an empty text if it cannot be read."""
    try:
        return catalogue.described(method, word)
    except (OSError, ValueError):  # records outlive files, and are read while one is being edited
        return ""
