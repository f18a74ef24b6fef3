"""Say before work begins what this machine makes slow, or has no room for.

Without torch, unless the disk is so full that weights have to be counted: Snakemake asks, too.
"""

import os
import shutil

from bench.runs import catalogue
from bench.runs.ending import plural
from bench.runs.locks import visible_gpus
from bench.runs.record import AUTOATTACK, FEWEST_CLASSES, TOO_FEW_CLASSES, TRAIN, Config
from bench.runs.run import kept_for
from bench.stages import machine
from bench.tools.memory import format_bytes, weights_bytes
from workflows.plan import MOST_WEIGHTS, Plan

FILES = 3  # of weights, at most: last, chosen and averaged


def cautions(plan: Plan, *, here: bool = True) -> list[str]:
    """List a sentence for each thing that the work left will lack.

    Args:
        here: jobs run on this machine, and on no cluster's.
    """
    left = plan.left
    found = []
    if here and not visible_gpus(os.environ) and not machine.has_bf16_units():
        count = sum(machine.uses_bf16(one.stage, one.config, plan.options(one)) for one in left)
        if count:
            found.append(
                f"bf16, in {count} of {plural(len(left), 'stage')} left: {machine.SLOW_BF16}"
            )
    attacked = {one.config.dataset for one in left if one.stage.name == AUTOATTACK}
    few = [
        name for name in attacked if (catalogue.classes(name) or FEWEST_CLASSES) < FEWEST_CLASSES
    ]
    if few:
        found.append(f"{', '.join(sorted(few))}: {TOO_FEW_CLASSES}")
    runs = [work.config for work in left if work.stage.name == TRAIN]
    place = plan.results.absolute()
    while not place.exists():
        place = place.parent
    free = shutil.disk_usage(place).free
    keep = plan.suite.keep_weights
    if sum(map(_most, runs)) > free and (needed := weights_bytes(runs, keep)) > free:
        found.append(
            f"disk: the weights of {plural(len(runs), 'training')} left take "
            f"{format_bytes(needed)}, and {place} has {format_bytes(free)} free; make "
            "room, or have results elsewhere (docs/machines.md)"
        )
    return found


def _most(run: Config) -> float:
    """Bound the bytes of a run's weights without making its network."""
    wider = max(1.0, run.width / catalogue.published_width(run.architecture))
    return (FILES + len(kept_for(run))) * MOST_WEIGHTS * wider**2
