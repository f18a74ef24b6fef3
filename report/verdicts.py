"""The verdicts on collapse of several seeds, in words."""

from collections.abc import Iterable, Sequence


def counted(outcomes: Sequence[str], onsets: Iterable[int]) -> str:
    """Count the seeds that collapsed, and name the epochs in which it began: "1 of 2 (epoch 5)".

    Args:
        outcomes: of each seed, as ``Verdict.outcome``.
        onsets: epochs, from 1, of those that collapsed.
    """
    epochs = ", ".join(map(str, sorted(onsets)))
    text = f"{outcomes.count('collapsed')} of {len(outcomes)}"
    text += f" (epoch {epochs})" if epochs else ""
    back = outcomes.count("recovered")
    return f"{text}; {back} recovered" if back else text


def badges(outcomes: Sequence[str]) -> list[tuple[str, bool]]:
    """Name what must be seen of them beside a row's name, and that it is bad news."""
    return [(_share(bad, outcomes), True) for bad in ("collapsed", "recovered") if bad in outcomes]


def _share(outcome: str, outcomes: Sequence[str]) -> str:
    """Name an outcome, and of how many seeds it is, unless of all."""
    count = outcomes.count(outcome)
    return outcome if count == len(outcomes) else f"{outcome} {count} of {len(outcomes)}"
