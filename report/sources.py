"""What a method is: its family, and the paper to cite for it."""

import functools
import re
from pathlib import Path

# Families by how a method attacks, not by what it costs; "regularised": a term beside the loss at
# one attacked image. Keys are of references.bib; None: nothing to cite.
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
AUTOATTACK_KEY = "croce2020reliable"  # whoever reports these tables cites it too


def family(method: str, passes: float | None) -> str:
    """Name a method's family; one that is not in the table is sorted by its counted passes.

    Args:
        passes: images forward and backward per training image and update; None if not measured.
    """
    if method in METHODS:
        return METHODS[method][0]
    if passes is None:
        return "other"
    # one forward and backward pass for the update, the same for the step
    return "standard" if passes <= 2 else "single-step" if passes <= 4 else "multi-step"


@functools.cache
def entries() -> dict[str, str]:
    """Read the BibTeX entries by key."""
    text = (Path(__file__).parent / "references.bib").read_text(encoding="utf-8")
    found = re.finditer(r"^@\w+\{([\w-]+),.*?^\}$", text, re.MULTILINE | re.DOTALL)
    return {entry[1]: entry[0] for entry in found}


def key(method: str) -> str | None:
    """Name a method's entry; None if it has none."""
    return METHODS.get(method, (None, None))[1]
