"""A method, an evaluation, a data set and a network are one file each."""

import json
import re
import shutil

from projects import SMOKE, bench, planned, snakemake

from bench.runs import catalogue
from bench.runs.record import Record


def test_the_tutorials_method_keeps_the_laws_and_appears_on_the_page(project):
    for name in ("tests", "pyproject.toml"):
        source = catalogue.ROOT / name
        (shutil.copytree if source.is_dir() else shutil.copy)(source, project / name)
    tutorial = (catalogue.ROOT / "CONTRIBUTING.md").read_text()
    code = re.findall(r"```python\n(.*?)```", tutorial, re.DOTALL)[0]
    bench(project, "method", "new", "fgsm_random")
    (project / "methods/fgsm_random.py").write_text(code)
    assert " passed" in bench(project, "method", "check", "fgsm_random")
    snakemake(project, *SMOKE, "--config", "methods=[fgsm,fgsm_random]")
    assert "fgsm_random" in (project / "results/leaderboard.html").read_text()


NOISE = '''"""Noise: one draw of it."""

from torch import Generator, rand

from bench.runs.record import Score
from evaluation.attacks import Found
from evaluation.clean import correct

TITLE = "uniform noise"
MEANING = "% right under one draw of uniform noise"
WEIGHTS = "last"


def evaluate(net, x, y, task):
    """Move every pixel by up to eps."""
    draw = rand(x.shape, generator=Generator().manual_seed(task.seed)).to(x.device)
    right = correct(net, (x + task.eps * (2 * draw - 1)).clamp(0, 1), y)
    return Found({"noise": Score(accuracy=100.0 * right.float().mean().item(), n=len(y))}, {})
'''


def test_an_evaluation_is_one_file(project):
    (project / "evaluation/attacks/noise.py").write_text(NOISE)
    words = (*SMOKE, "--config", "methods=[fgsm]", "evaluations=[noise]")
    assert planned(project, *words) == {("noise", "fgsm"): 1}  # its rule; nothing else is stale
    snakemake(project, *words)
    (path,) = (project / "results/runs/digits/small_cnn/fgsm").glob("*/noise.json")
    assert json.loads(path.read_text())["measure"]["scores"]["noise"]["n"] == 4
    page = (project / "results/leaderboard.html").read_text()
    assert "uniform noise" in page  # its column
    assert "--evaluation noise" in page  # the command that repeats it
    assert "noise" in bench(project, "evaluate", "--help")  # its flag
    bench(project, "schema")
    for schema in ("workflows/config/schema.yaml", "results/schema.json"):
        assert re.search(r"\bnoise\b", (project / schema).read_text())


def test_a_data_set_and_a_network_are_one_file_each(project):
    digits = (project / "bench/data/digits.py").read_text()
    (project / "bench/data/numerals.py").write_text(digits.replace("eps=51", "eps=40"))
    net = (project / "bench/models/small_cnn.py").read_text()
    (project / "bench/models/little.py").write_text(net.replace("WIDTH = 32", "WIDTH = 8"))
    words = (*SMOKE, "--config", "methods=[fgsm]", "datasets=[numerals]", "architectures=[little]")
    snakemake(project, *words, "eps=null", "width=null")
    (path,) = (project / "results/runs/numerals/little/fgsm").glob("*/train.json")
    made = Record.read(path)
    assert made.status == "done"
    assert (made.config.eps, made.config.width) == ("40/255", 8)
    page = (project / "results/leaderboard.html").read_text()
    assert "numerals" in page
    assert "little" in page


def test_the_stub_is_no_file_twice_and_takes_no_odd_name(project):
    for name, said in (("fgsm", "exists; choose another"), ("My-Method", "lower snake case")):
        assert said in bench(project, "method", "new", name, code=1)
