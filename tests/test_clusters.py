"""Clusters: what the profile of SLURM asks for."""

import re
from typing import Any, NamedTuple

import pytest
from projects import SLURM, SMOKE, snakemake


@pytest.mark.parametrize(("attempt", "minutes"), [(1, 240), (3, 720), (11, 1440)])
def test_slurm_gives_a_job_one_gpu_and_after_a_cut_off_more_time(project, attempt, minutes):
    words = ("-n", "--forceall", "--attempt", str(attempt))
    text = snakemake(project, *SMOKE, *SLURM, *words)
    assert set(re.findall(r"runtime=(\d+)", text)) == {str(minutes)}
    assert re.search(r"resources: .*gpu=1", text)


def test_slurm_turns_gpu_into_one_gpu_a_job():
    from snakemake_executor_plugin_slurm.utils import set_gres_string

    class Resources(dict):
        __getattr__ = dict.get

    class Job(NamedTuple):
        resources: Any = Resources(gpu=1)

    assert set_gres_string(Job()).split() == ["--gpus=1"]
