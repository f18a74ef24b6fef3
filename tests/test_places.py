"""Odd places and circumstances: users without a name, closed streams, umasks, homes."""

import json
import os
import subprocess
import sys

import pytest
import torch

from bench.data import _cache
from bench.runs.catalogue import ROOT, folder
from bench.runs.files import write_bytes
from bench.runs.suite import parse_suite
from bench.tools import data

STREAMS = """
import json, os, sys
from bench.runs.process import settle
settle()
with open(sys.argv[1], "w") as file:
    print("lost", file=sys.stderr)
    os.write(2, b"a library's own words")
    json.dump([file.fileno(), sys.stderr.isatty(), sys.stdin.read()], file)
"""


@pytest.mark.parametrize("closed", ["2>&-", "1>&- 2>&-", "0<&- 1>&- 2>&-", ""])
def test_no_file_gets_the_number_of_a_closed_stream(tmp_path, closed):
    command = f'"$0" -c "$1" "$2" {closed}'
    subprocess.run(
        ["sh", "-c", command, sys.executable, STREAMS, tmp_path / "file"], cwd=ROOT, check=True,
        stdin=subprocess.DEVNULL,
    )  # fmt: skip
    number, *rest = json.loads((tmp_path / "file").read_text())
    assert number > 2
    assert rest == [False, ""]


def test_without_a_stderr_a_mistake_is_an_exit_code_and_a_line_of_the_log(tmp_path):
    run = {"dataset": "digits", "architecture": "small_cnn", "method": "fgsm", "protocol": "smoke"}
    words = ["--config", json.dumps(run), "--data-dir", tmp_path, "--out", tmp_path / "run"]
    done = subprocess.run(
        ["sh", "-c", '"$@" 2>&-', "sh", sys.executable, "-m", "bench", "train", *words,
         "--log", tmp_path / "log"], cwd=ROOT,
    )  # fmt: skip
    assert done.returncode == 1
    assert "error: " in (tmp_path / "log").read_text()
    assert "is missing; run: python -m bench data digits" in (tmp_path / "log").read_text()


NAMELESS = """
import getpass, os, pwd
def unknown(number):
    raise KeyError(f"getpwuid(): uid not found: {number}")
pwd.getpwuid = unknown
from bench.runs.process import settle
settle()
from torch._inductor.runtime.cache_dir_utils import cache_dir
print(getpass.getuser() == str(os.getuid()), cache_dir().endswith(f"_{os.getuid()}"))
"""


def test_a_user_without_a_name_goes_by_number():
    """Snakemake asks for the name, and torch's compiler."""
    named = ("LOGNAME", "USER", "LNAME", "USERNAME", "HOME", "TORCHINDUCTOR_CACHE_DIR")
    environ = {name: value for name, value in os.environ.items() if name not in named}
    done = subprocess.run(
        [sys.executable, "-c", NAMELESS], cwd=ROOT, env=environ, capture_output=True, text=True
    )
    assert done.stdout == "True True\n", done.stderr


@pytest.mark.parametrize(("umask", "mode"), [(0o077, 0o600), (0o022, 0o644), (0o002, 0o664)])
def test_files_have_the_access_that_the_umask_grants(tmp_path, umask, mode):
    before = os.umask(umask)
    try:
        write_bytes(tmp_path / "record", b"")
        tensors = {"x": torch.zeros(1, dtype=torch.uint8)}
        _cache.write(tmp_path / "pixels", "digits", tensors, official=True)
    finally:
        os.umask(before)
    modes = {path.name: path.stat().st_mode & 0o777 for path in tmp_path.iterdir()}
    assert modes == {"record": mode, "pixels": mode}


def test_a_data_folder_in_a_home_is_the_one_meant(monkeypatch, capsys, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert folder("~/data") == tmp_path / "data"
    assert parse_suite({"data_dir": "~/data"}).data_folder == str(tmp_path / "data")
    monkeypatch.setenv("ONESTEP_DATA", "~/other")
    assert parse_suite({}).data_folder == str(tmp_path / "other")
    data.main(["digits"])
    assert (tmp_path / "other/prepared/digits.safetensors").is_file()


def test_a_home_that_nobody_has_is_refused(capsys):
    said = "~nobody-here/data begins with ~, and no home is known for it; write it out"
    with pytest.raises(ValueError, match=said):
        parse_suite({"data_dir": "~nobody-here/data"})
    with pytest.raises(SystemExit):
        data.main(["digits", "--folder", "~nobody-here/data"])
    assert said in capsys.readouterr().err
