"""Write documents from the code and the records: python -m bench docs

docs/methods.md and docs/attacks.md are written here, docs/shapes.md by report/shapes.py.
"""

import re
import sys
import tomllib
from collections import defaultdict
from collections.abc import Sequence

from bench.runs import evaluations
from bench.runs.catalogue import EVALUATIONS, FAMILIES, ROOT, default_settings, described
from bench.runs.files import write_bytes
from bench.runs.record import Record
from methods import load, names

METHODS = """# Methods

Generated from the files in `methods/` by `make docs`; do not edit. Passes are images forward /
backward through the network per training image and batch. State is that of CIFAR-10 at batch 128.
Defaults are the authors' own settings (`variant = official`); the SORA benchmark's stand below each
box. "Begins with" is what the source trains on from. What is missing is
[below](#not-here-and-why)."""
METHOD_TABLE = """
| method | venue | year | source | passes | state | begins with | norms | settings |
| --- | --- | --- | --- | --- | --- | --- | --- | --- |"""
ABSENT = """
## Not here, and why

From `methods/absent.toml`.

| method | source | why |
| --- | --- | --- |"""
# as sources begin: authors, then venue and year, or a year alone
VENUE = re.compile(r"[^;]*?, (?:([A-Z][\w ]*?) )?((?:19|20)\d\d)\b")
ATTACKS = """# Attacks and diagnostics

Generated from the files in `evaluation/` by `make docs`; do not edit. A suite asks for them under
`evaluations`, by name or as `{attack: pgd, steps: 50, restarts: 10, eps: 6/255}`. Passes are images
forward / backward through the network per image, at most: attacks leave out what fell already.
Seconds are those of the first 100 images of MNIST-5k, least to most over five networks of
`small_cnn` at width 8 (suite `attacks`, published in `results/published/story`), on one thread of
an AMD EPYC with other work beside it: they tell seconds from minutes, no more. Settings other than
the file's own are told in the name."""
ATTACK_TABLE = """
| name | norms | passes | seconds | what it says | source |
| --- | --- | --- | --- | --- | --- |"""
MEASURED = "results/published/story"
IMAGES = 100


def methods() -> str:
    """Describe all methods in Markdown, from their docstrings, fields and state."""
    import inspect

    import torch
    import yaml

    from bench.method import Run
    from bench.tools.estimate import network
    from bench.traces import made_up_way

    # the sizes of CIFAR-10 at batch 128; on the meta device, which gives shapes and no memory
    net = network("cifar10", "preact_resnet18", 64)
    run = Run(
        torch.device("meta"), (128, 3, 32, 32), (50_000, 3, 40, 40), 30, 50_000, 10, 512,
        made_up_way(131, net),  # Sub-AT's
    )  # fmt: skip
    rows: dict[str, list[str]] = {}  # by family
    boxes = []
    paper = (ROOT / "workflows/config/paper.yaml").read_text(encoding="utf-8")
    of_benchmark = yaml.safe_load(paper)["method_args"]
    for name in names():
        kind = load(name)
        method, docstring = kind(), inspect.getdoc(kind) or ""
        state = method.init(run)
        tensors = ", ".join(f"{k} {tuple(v.shape)}" for k, v in state.items())
        size = sum(v.nbytes for v in state.values())
        hyperparameters = ", ".join(f"{k} = {v}" for k, v in default_settings(name).items())
        source = described(name, "Source")
        published = VENUE.match(source)
        venue, year = published.groups() if published else (None, None)
        cells = [
            f"[{name}](#{name})",
            venue or "-",
            year or "-",
            source,
            f"{method.cost.forward} / {method.cost.backward}",
            f"{tensors}: {_bytes(size)}" if tensors else "none",
            "trained weights"
            if kind.tunes
            else "a source's first weights"
            if kind.follows
            else "initial ones",
            ", ".join(kind.norms),
            hyperparameters or "none",
        ]
        rows.setdefault(described(name, "Family"), []).append(_row(cells))
        boxes += ["", f"## {name}", "", "```", docstring, "```"]
        boxes += [f"\nPublished for {k}: `{v}`" for k, v in kind.presets.items()]
        given = of_benchmark.get(name, {})
        text = f"`{given}`" if given else "the defaults"
        boxes.append(f"\nIn the SORA benchmark (`workflows/config/paper.yaml`): {text}.")
    lines = [METHODS]
    for family in FAMILIES:
        lines += ["", f"## {family.capitalize()} methods", METHOD_TABLE, *rows[family]]
    absent = tomllib.loads((ROOT / "methods/absent.toml").read_text(encoding="utf-8"))
    lines += [ABSENT, *(_row([name, one["source"], one["why"]]) for name, one in absent.items())]
    return "\n".join([*lines, *boxes]) + "\n"


def attacks() -> str:
    """Describe all attacks and diagnostics in Markdown, with what they took of suite attacks."""
    import evaluation

    lines, took = [ATTACKS], _seconds()
    for kind, room in EVALUATIONS.items():
        lines += ["", f"## {kind.capitalize()}s", ATTACK_TABLE]
        measured = [entry for entry in map(evaluations.read, took) if entry.kind == kind]
        there = {entry.file for entry in measured}
        rest = [one for one in map(evaluations.read, evaluations.known()) if one.kind == kind]
        for entry in [*measured, *(one for one in rest if one.file not in there)]:
            made = evaluation.load(kind, entry.file)(**entry.settings)
            seconds, tries = took.get(entry.name, []), getattr(made, "restarts", 1)
            cells = [
                f"[{entry.name}](../{entry.path})",
                ", ".join(made.norms),
                " / ".join(str(tries * passes) for passes in made.cost),
                f"{min(seconds):.1f} to {max(seconds):.1f}" if seconds else "-",
                entry.meaning,
                described(entry.file, "Source", room),
            ]
            lines.append(_row(cells))
    return "\n".join(lines) + "\n"


def _seconds() -> dict[str, list[float]]:
    """Read how long evaluations of 100 images took, by name."""
    took = defaultdict(list)
    for path in sorted((ROOT / MEASURED).glob("*/*/*/*/*.json")):
        record = Record.read(path)
        if record.measure and record.measure.images == IMAGES:
            took[record.stage].append(record.measure.measure_seconds)
    return took


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"


def _bytes(size: int) -> str:
    for unit, scale in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if size >= scale:
            return f"{size / scale:.2g} {unit}"
    return f"{size} B"


def main(words: Sequence[str] | None = None) -> None:
    """Write both documents."""
    if words:
        sys.exit(
            "docs takes no words: it writes docs/methods.md, docs/attacks.md and docs/shapes.md"
        )
    for name, text in (("methods", methods()), ("attacks", attacks())):
        write_bytes(ROOT / f"docs/{name}.md", text.encode())
