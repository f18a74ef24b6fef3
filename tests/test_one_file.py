"""A method, an evaluation, a data set and a network are one file each."""

import json
import re
import shutil

from projects import LOUD, SMOKE, bench, count, edit, jobs, record, snakemake

from bench.runs import catalogue
from bench.runs.record import Record


def page_of(project, *words):
    """Train, attack and render, without the measuring of costs."""
    snakemake(project, "--until", "autoattack", *SMOKE, "--config", *words)
    bench(project, "report")
    return (project / "results/leaderboard.html").read_text()


def follow_tutorial(project):
    """Add the method of CONTRIBUTING, as a newcomer would."""
    bench(project, "method", "new", "fgsm_random")
    tutorial = (catalogue.ROOT / "CONTRIBUTING.md").read_text()
    code = re.findall(r"```python\n(.*?)```", tutorial, re.DOTALL)[0]
    (project / "methods/fgsm_random.py").write_text(code)


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


def test_the_stub_is_no_file_twice_and_takes_no_odd_name(project):
    for name, said in (("fgsm", "exists; choose another"), ("My-Method", "lower snake case")):
        assert said in bench(project, "method", "new", name, code=1)
