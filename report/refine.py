"""Print the suite that refines a phase diagram's border: python -m bench refine SUITE.yaml

The suite varies two numbers: the radius and a setting, or two settings. Between neighbouring cells
of two verdicts the new suite has a value half-way; beside it the values of the cells at the border,
whose runs are there already. Save it, run it like any other, refine it again, and so on.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from bench.runs.ending import plural
from bench.runs.record import ConfigError
from bench.runs.run import expand
from bench.runs.settings import as_list
from bench.runs.suite import parse_suite, read_suite
from report.collect import collect_all
from report.phase import EPS, VERDICTS, Cell, Phases, midpoints, outcome, phases, varying


def refined(given: dict[str, Any], diagram: Phases) -> dict[str, Any]:
    """Return the suite whose grid divides the border of a diagram.

    Raises:
        ConfigError: there is no border, or no single grid.
    """
    border = [cell for cell in diagram.cells if cell.border]
    if not border:
        found = ", ".join(
            word for word in VERDICTS if any(c.verdict == word for c in diagram.cells)
        )
        raise ConfigError(
            f"all {len(diagram.cells)} cells are of one verdict ({found}), so there is no border; "
            "widen the grid"
        )
    new, own = dict(given), given.get("method_args", {})
    if "suite" in given:  # or else it says what is other than in the default suite
        new["suite"] = f"{given['suite']}_refined"
    arguments, *others = as_list(own.get(diagram.method, {}))
    if others:
        raise ConfigError(
            f"method_args has several mappings for {diagram.method}, which make no single grid; "
            "write one mapping"
        )
    arguments = dict(arguments)
    for name, values in ((diagram.x, _values(diagram.cells, border, across=True)),
                         (diagram.y, _values(diagram.cells, border, across=False))):  # fmt: skip
        if name == EPS:
            new["eps"] = values
        else:
            arguments[name] = values
    if arguments:
        new["method_args"] = own | {diagram.method: arguments}
    return new


def _values(cells: Sequence[Cell], border: Sequence[Cell], *, across: bool) -> list[float]:
    """List an axis of the new grid: where the border's cells lie, and half-way across it."""
    there = {cell.x if across else cell.y for cell in border}
    values = sorted(there | {*midpoints(cells, across=across)})
    return [int(value) if value == int(value) else value for value in values]


def main(words: Sequence[str] | None = None) -> None:
    """Print the suite as YAML; exit with a message if there is nothing to refine."""
    parser = argparse.ArgumentParser(prog="python -m bench refine", description=__doc__)
    parser.add_argument("suite", type=Path, help="name or file of the suite")
    parser.add_argument(
        "--results", type=Path, default=Path("results"), help="its records; results"
    )
    args = parser.parse_args(words)
    try:
        given = read_suite(args.suite)
        runs = expand(parse_suite(given))
        if {run.method for run in runs} != {runs[0].method} or len(varying(runs)) != 2:
            raise ConfigError(
                f"it varies {', '.join(varying(runs)) or 'nothing'} of "
                f"{', '.join(sorted({run.method for run in runs}))}; a phase diagram is of two "
                "numbers of one method, the radius or settings: give two of them several values"
            )
        wanted = {run.folder for run in runs}
        known = [run for run in collect_all(args.results).runs if run.folder in wanted]
        diagrams = [one for one in phases(known) if one.cells]
        if not diagrams:
            judged = sum(outcome(run) is not None for run in known)
            raise ConfigError(
                f"verdicts on {judged} of its {len(runs)} runs are too few to find a border; run "
                "the suite first: snakemake --configfile SUITE.yaml"
            )
        if len(diagrams) > 1:
            raise ConfigError(
                f"its runs make {len(diagrams)} diagrams, one for each data set, network and "
                "choice of settings that are words; leave one of each"
            )
        new = refined(given, diagrams[0])
        planned = expand(parse_suite(new))
    except ConfigError as error:
        sys.exit(f"refine: {args.suite}: {error}")
    judged = sum(len(cell.outcomes) for cell in diagrams[0].cells)
    new_runs = sum(run.folder not in wanted for run in planned)
    print(
        f"# Divides the border of {args.suite}, by the verdicts on {judged} of its {len(runs)} "
        f"runs:\n# {plural(len(planned), 'run')}, {new_runs} of them new.\n"
        + yaml.safe_dump(new, sort_keys=False, default_flow_style=None, width=100),
        end="",
    )
