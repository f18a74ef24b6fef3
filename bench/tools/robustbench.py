"""Export a run to RobustBench's format: python -m bench export RUN --into DIR

Writes, in the folders where RobustBench looks for them,
  model_info/<data set>/<norm>/<name>.json   the row of its leaderboard
  models/<data set>/<norm>/<name>.pt         weights, a plain state dict
  models/<data set>/<norm>/<name>.py         the network, normalisation inside; needs torch alone
"""

import argparse
import inspect
import io
import re
import sys
import types
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bench import weights
from bench.runs import catalogue
from bench.runs.files import write_bytes, write_json
from bench.runs.find import RUN, run_folder
from bench.runs.record import AUTOATTACK, TRAIN, Attack, Config, Data, Record
from bench.runs.typed import from_json

ATTACK_FIRST = (
    "only a run that AutoAttack has attacked has a row: python -m bench attack --config RUN.yaml "
    "--out RUN, with the run's configuration, which its train.json has"
)
ARXIV = re.compile(r"arXiv:(\d{4}\.\d{4,5})")
# The exported Python file; {shell} and {body} become the source of Net and of the architecture.
MODEL = '''"""A network of the onestep benchmark, for RobustBench; images in [0, 1], logits out.

    net = load()
    # or, after bench.tools.robustbench.adapt() and import robustbench, by its own load_model:
    model_dicts[BenchmarkDataset(DATASET)][ThreatModel.{norm}][NAME] = ENTRY
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

Precision = str
{about}

{shell}

{body}

def network() -> nn.Module:
    """Make the network, with fresh weights."""
    inside = build(shape=SHAPE, classes=CLASSES, width=CHANNELS)
    return Net(inside, mean=MEAN, std=STD)


def load() -> nn.Module:
    """Make the network with the weights beside this file, in eval mode."""
    net = network()
    net.load_state_dict(
        torch.load(Path(__file__).with_suffix(".pt"), map_location="cpu", weights_only=True)
    )
    return net.eval()


ENTRY = {{"model": network, "gdrive_id": "here already"}}
'''


def export(run: Path, into: Path, *, name: str | None = None) -> str:
    """Write a run in RobustBench's format; return the name it has there.

    Args:
        run: folder with train.json, autoattack.json and model.safetensors.
        into: folder for model_info/ and models/.
        name: None for one made of method and run id.

    Raises:
        ValueError: a stage is yet to be done or failed, the weights do not fit the network, or
            there is another run's export of this name.
        OSError: a file cannot be read or written.
    """
    if not (path := run / f"{AUTOATTACK}.json").is_file():
        raise ValueError(f"there is no {path}; {ATTACK_FIRST}")
    trained, attacked = (Record.read(run / f"{stage}.json") for stage in (TRAIN, AUTOATTACK))
    for record in (trained, attacked):
        if record.status != "done":
            raise ValueError(
                f"{record.stage} is {record.status} in the record: {record.reason}; only a run "
                "that is done has a row"
            )
    assert trained.training and attacked.attack and attacked.data, "what is done has numbers"
    config = attacked.config
    name = name or f"Onestep_{config.method}_{attacked.run}"
    if not re.fullmatch(r"[A-Za-z0-9_-]+", name):
        raise ValueError(f"{name!r} is no name for files: letters, digits, _ and - only")
    place = Path(config.dataset) / config.norm
    row = leaderboard_row(attacked.attack, attacked.data, config, trained.training.method_source)
    state = _state(run)  # of a network and a data set that are known here
    info = into / "model_info" / place / f"{name}.json"
    if info.is_file() and from_json(info.read_text(encoding="utf-8"), str(info)) != row:
        raise ValueError(f"{info} is of another run; give another --name, or remove it")
    write_bytes(into / "models" / place / f"{name}.pt", state)
    write_bytes(into / "models" / place / f"{name}.py", _module(config, name).encode())
    write_json(info, row)
    return name


def leaderboard_row(
    attack: Attack, data: Data, config: Config, method_source: str
) -> dict[str, Any]:
    """Make the row of RobustBench's leaderboard; both accuracies are those on the attacked images.

    Args:
        method_source: the method's source text, whose docstring names the paper.
    """
    paper = ARXIV.search(method_source)
    protocol = config.protocol["name"]
    notes = [f"Trained by onestep: {config.method}, {protocol}, seed {config.seed}."]
    if start := config.start:
        notes.append(f"It began with the weights of {start.method}, {start.protocol['name']}.")
    notes.append(f"The network's first layer has {config.width} channels.")
    if attack.n < data.test_images:
        notes.append(f"Evaluated on the first {attack.n} of {data.test_images} test images.")
    if config.train_images is not None:
        notes.append(f"Trained on {config.train_images} images of the training set.")
    if not data.official:
        notes.append("The data's files have not the published checksums.")
    return {
        "link": f"https://arxiv.org/abs/{paper[1]}" if paper else "",
        "name": f"{config.method}, reproduced by onestep",
        "authors": "onestep, not the authors of the method",
        "additional_data": False,
        "number_forward_passes": 1,
        "dataset": config.dataset,
        "venue": "Unpublished",
        "architecture": config.architecture,
        "eps": config.eps,
        "clean_acc": f"{attack.after['clean']:.2f}",
        "reported": f"{attack.accuracy:.2f}",
        "autoattack_acc": f"{attack.accuracy:.2f}",
        "footnote": " ".join(notes),
    }


def adapt(seed: int | None = None) -> None:
    """Put a stand-in for the package ``autoattack``, which robustbench 1.1.1 imports, in place.

    The dependencies of robustbench install the same attacks as ``pyautoattack``, with other
    arguments; the stand-in translates them. Call this before ``import robustbench``.

    Args:
        seed: of the attacks; robustbench itself seeds them by the clock.
    """
    import pyautoattack
    from pyautoattack.state import EvaluationState

    class AutoAttack:
        """The part of the original's class that robustbench uses."""

        def __init__(self, model: Any, *, log_path: str | None = None, **rest: Any) -> None:
            self.inside = pyautoattack.AutoAttack(model, seed=seed, **rest)

        def run_standard_evaluation(
            self, x: Any, y: Any, *, bs: int = 250, state_path: Any = None
        ) -> Any:
            adversarial, _ = self.inside.run_standard_evaluation(
                x, y, batch_size=bs, state_path=state_path
            )
            return adversarial

    package, state = types.ModuleType("autoattack"), types.ModuleType("autoattack.state")
    vars(package)["AutoAttack"], vars(state)["EvaluationState"] = AutoAttack, EvaluationState
    sys.modules |= {"autoattack": package, "autoattack.state": state}


def _state(run: Path) -> bytes:
    """Make the bytes of a weights file for torch.load, after loading them into the network."""
    import torch

    found = weights.read(run, "last")
    weights.put(found, weights.network_of(found.record.config))
    buffer = io.BytesIO()
    torch.save(found.tensors, buffer)
    return buffer.getvalue()


def _module(config: Config, name: str) -> str:
    """Make the network's Python file; a record's values enter as literals, never as code."""
    from bench import data, models

    known = data.info(config.dataset)
    constants = {
        "NAME": name, "DATASET": config.dataset, "SHAPE": tuple(known.shape),
        "CLASSES": known.classes, "CHANNELS": config.width, "MEAN": known.mean, "STD": known.std,
    }  # fmt: skip
    body = (catalogue.ROOT / f"bench/models/{config.architecture}.py").read_text(encoding="utf-8")
    return MODEL.format(
        norm=config.norm,
        about="\n".join(f"{key} = {value!r}" for key, value in constants.items()),
        shell=inspect.getsource(models.Net),
        body=body,
    )


def main(words: Sequence[str] | None = None) -> None:
    """Export one run, and say where to."""
    parser = argparse.ArgumentParser(
        prog="python -m bench export", description="Export a run in RobustBench's format."
    )
    parser.add_argument("run", metavar="RUN", help=RUN)
    parser.add_argument("--into", type=Path, required=True, help="for model_info/ and models/")
    parser.add_argument("--name", help="of the files; default: made of method and run id")
    args = parser.parse_args(words)
    try:
        name = export(run_folder(args.run), args.into, name=args.name)
    except (ValueError, OSError) as error:
        sys.exit(f"export: {error}")
    print(f"{name} in {args.into}/model_info and {args.into}/models")
