"""The family of each method, and the paper to cite for it."""

import functools
import re
from pathlib import Path

# Family, by how a method attacks in training, and key of references.bib; None: nothing to cite.
# "regularised" adds a term to the loss at one attacked image.
METHODS: dict[str, tuple[str, str | None]] = {
    "aaer": ("regularised", "lin2023eliminating"),
    "atas": ("single-step", "huang2022fast"),
    "elle": ("regularised", "abadrocamora2024efficient"),
    "fgsm": ("single-step", "goodfellow2015explaining"),
    "fgsm_rs": ("single-step", "wong2020fast"),
    "free_at": ("single-step", "shafahi2019adversarial"),
    "grad_align": ("regularised", "andriushchenko2020understanding"),
    "multigrad": ("single-step", "golgooni2021zerograd"),
    "n_fgsm": ("single-step", "dejorge2022make"),
    "nuat": ("regularised", "sriramanan2021towards"),
    "pgd10": ("multi-step", "madry2018towards"),
    "pgd2": ("multi-step", "madry2018towards"),
    "sora": ("single-step", "teymourian2026sora"),
    "standard": ("standard", None),
    "trades": ("multi-step", "zhang2019theoretically"),
    "zerograd": ("single-step", "golgooni2021zerograd"),
}
AUTOATTACK_KEY = "croce2020reliable"  # to cite for every table


def family(method: str, passes: float | None) -> str:
    """Look up a method's family; for a method outside METHODS, guess it from the counted passes.

    Args:
        passes: forward and backward together, per training image and update; None if unmeasured.
    """
    if method in METHODS:
        return METHODS[method][0]
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
    return METHODS.get(method, (None, None))[1]
