"""A method, an evaluation, a data set and a network are one file each."""

import json
import re
import shutil

import numpy as np
import pytest
from miniatures import jpeg
from projects import LOUD, SMOKE, bench, copy, count, edit, jobs, record, snakemake

from bench.runs import catalogue
from bench.runs.record import Record


def page_of(project, *words):
    """Train, attack and render, without the measuring of costs."""
    snakemake(project, "--until", "autoattack", *SMOKE, "--config", *words)
    bench(project, "report")
    return (project / "results/leaderboard.html").read_text()


def tutorial(words):
    """The first piece of Python in CONTRIBUTING that has these words."""
    text = (catalogue.ROOT / "CONTRIBUTING.md").read_text()
    return next(
        code for code in re.findall(r"```python\n(.*?)```", text, re.DOTALL) if words in code
    )


def follow_tutorial(project):
    """Add the method of CONTRIBUTING, as a newcomer would."""
    bench(project, "method", "new", "fgsm_random")
    (project / "methods/fgsm_random.py").write_text(tutorial("FGSMRandom"))


def test_the_tutorials_method_keeps_the_laws(project):
    shutil.copytree(catalogue.ROOT / "tests", project / "tests")
    shutil.copy(catalogue.ROOT / "pyproject.toml", project)
    follow_tutorial(project)
    assert " passed" in bench(project, "method", "check", "fgsm_random")


def test_the_tutorials_method_appears_on_the_page(project):
    follow_tutorial(project)
    assert "fgsm_random" in page_of(project, "methods=[fgsm,fgsm_random]")
    assert record(project, "fgsm_random", "autoattack").status == "done"


NOISE = '''"""uniform noise: draws of it."""

from dataclasses import dataclass

from bench.method import Cost
from bench.ops import box
from evaluation.attack import Attack


@dataclass(frozen=True, kw_only=True)
class Noise(Attack):
    """Move every pixel by up to eps.

    Meaning: % right under {restarts} draws of uniform noise
    """

    names = {"noise": "uniform noise", "noise_{restarts}": "uniform noise, {restarts}"}

    restarts: int = 1

    cost = Cost(0, 0)

    def perturb(self, net, x, y, threat, draw):
        return x + box(draw(threat.uniform, x), x)
'''


def test_an_evaluation_is_one_file(project):
    (project / "evaluation/attacks/noise.py").write_text(NOISE)
    asked = "evaluations=[{attack: noise, restarts: 3, eps: 102/255}, gradient_alignment]"
    said = snakemake(project, *SMOKE, "--config", "methods=[fgsm]", asked, *LOUD)
    stage = "noise_3-102_255"  # its rule; nothing else is stale
    assert count(jobs(said)) == {(stage, "fgsm"): 1, ("gradient_alignment", "fgsm"): 1}
    (path,) = (project / "results/runs/digits/small_cnn/fgsm").glob(f"*/{stage}.json")
    measure = json.loads(path.read_text())["measure"]
    assert measure["scores"]["noise_3 102/255"]["n"] == measure["images"] == 4
    assert measure["settings"] == {"seed": 0, "restarts": 3, "eps": "102/255"}
    found = json.loads(path.with_name("gradient_alignment.json").read_text())["measure"]
    assert found["values"]["gradient_alignment"]["unit"] == "cosine"
    page = (project / "results/leaderboard.html").read_text()
    assert "uniform noise, 3 102/255" in page  # its column
    assert "gradient alignment" in page
    assert f"--evaluation {stage}" in page  # the command that repeats it
    assert "noise" in bench(project, "evaluate", "--help")  # its flag
    bench(project, "schema")
    for schema in ("workflows/config/schema.yaml", "results/schema.json"):
        assert re.search(r"\bnoise\b", (project / schema).read_text())


def test_a_data_set_and_a_network_are_one_file_each(project):
    for old, new in (("data/digits", "data/numerals"), ("models/small_cnn", "models/little")):
        shutil.copy(project / f"bench/{old}.py", project / f"bench/{new}.py")
    edit(project / "bench/data/numerals.py", "eps=51", "eps=40")
    edit(project / "bench/models/little.py", "WIDTH = 32", "WIDTH = 8")
    words = ("methods=[fgsm]", "datasets=[numerals]", "architectures=[little]")
    page = page_of(project, *words, "eps=null", "width=null")
    (path,) = (project / "results/runs/numerals/little/fgsm").glob("*/train.json")
    made = Record.read(path)
    assert made.status == "done"
    assert (made.config.eps, made.config.width) == ("40/255", 8)
    assert "numerals" in page
    assert "little" in page


@pytest.fixture
def flowers(tmp_path):
    """A project with the data set of CONTRIBUTING, still without pictures."""
    code = tutorial("_folders.read")
    assert len(code.splitlines()) <= 20
    folder = copy(tmp_path / "project")
    (folder / "bench/data/flowers.py").write_text(code)
    return folder


def test_class_folders_of_ones_own_are_a_data_set_in_twenty_lines(flowers):
    for split, n in (("train", 12), ("test", 4)):
        for name in ("aster", "lily", "rose", "tulip"):
            folder = flowers / ".data/flowers" / split / name
            folder.mkdir(parents=True)
            for i in range(n):
                (folder / f"{i}.jpg").write_bytes(jpeg(i, width=50, height=40))
    assert "48 training and 16 test images" in bench(flowers, "data", "flowers")
    run = {"dataset": "flowers", "architecture": "small_cnn", "width": 4, "method": "fgsm",
           "protocol": "smoke"}  # fmt: skip
    bench(flowers, "train", "--config", json.dumps(run), "--out", "run")
    assert "left: " in bench(flowers, "plan", "--config", "datasets=[flowers]", "train_images=null")
    made = Record.read(flowers / "run/train.json")
    assert (made.status, made.config.eps, made.data.train_images) == ("done", "8/255", 48)


def test_arrays_of_ones_own_are_a_data_set_as_well(flowers):
    path = flowers / "bench/data/flowers.py"
    head, last = path.read_text(), tutorial("_medmnist")
    imports, read = last.split("\n\n\n")
    head = head.replace("from bench.data import Info, Source, _folders", imports)
    path.write_text(head[: head.index("def read")] + read)
    rng, arrays = np.random.default_rng(0), {}
    for split, n in (("train", 48), ("test", 16)):
        arrays[f"{split}_images"] = rng.integers(0, 256, (n, 32, 32, 3), dtype=np.uint8)
        arrays[f"{split}_labels"] = np.arange(n) % 4
    (flowers / ".data").mkdir()
    np.savez(flowers / ".data/flowers.npz", **arrays)
    assert "48 training and 16 test images" in bench(flowers, "data", "flowers")


def test_the_stub_is_no_file_twice_and_takes_no_odd_name(project):
    for name, said in (("fgsm", "exists; choose another"), ("My-Method", "lower snake case")):
        assert said in bench(project, "method", "new", name, code=1)
