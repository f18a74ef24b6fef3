"""Pictures are decoded into one copy by one process; a full disk is told, and left clean."""

import errno
import io
import shutil
import subprocess
import sys
import time

import pytest
import torch
from miniatures import jpeg, left_behind, pixels, write_svhn

from bench import data
from bench.data import _cache, svhn
from bench.data._pictures import Pictures
from bench.runs import catalogue


def test_pictures_are_decoded_a_chunk_at_a_time():
    files, opened = {str(i): jpeg(i, 8, 8) for i in range(5)}, []

    def stream(name):
        opened.append(name)
        return io.BytesIO(files[name])

    chunks = Pictures(list(files), stream, lambda picture: picture, 8).chunks(2)
    first = next(chunks)
    assert len(opened) == 2
    found = torch.cat([first, *chunks])
    assert torch.equal(found, torch.stack([pixels(files[name]) for name in files]).movedim(3, 1))


def test_a_disk_without_room_is_refused_with_what_is_needed(tmp_path, monkeypatch):
    pictures = Pictures(["n01440764_18.JPEG"] * 130_000, pytest.fail, pytest.fail, 256)
    full = shutil.disk_usage(tmp_path)._replace(free=10**10)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: full)
    with pytest.raises(OSError, match=r"^all\.safetensors needs 25\.6 GB and .* has 10\.0 GB left"):
        _cache.write(tmp_path / "all.safetensors", "all", {"train_x": pictures}, official=False)
    assert not left_behind(tmp_path)


def test_a_disk_that_fills_while_writing_is_left_clean(tmp_path, monkeypatch):
    class Full(io.FileIO):
        def write(self, content):
            if self.tell() > 20_000:
                raise OSError(errno.ENOSPC, "No space left on device")
            return super().write(content)

    def temporary(path):
        name = path.with_name(f".{path.name}.new")
        return name, Full(name, "x")

    write_svhn(tmp_path)
    monkeypatch.setattr(_cache, "temporary", temporary)
    with pytest.raises(OSError, match=r"svhn\.safetensors needs .* make room"):
        data.prepare("svhn", tmp_path)
    assert not left_behind(tmp_path)


SLOW = """
import sys
from pathlib import Path
from time import monotonic, sleep
from bench import data
from bench.data import svhn

folder, plain = Path(sys.argv[1]), svhn.read

def read(given):
    (folder / "reads").touch()
    until = monotonic() + 30
    while not (folder / "waits").exists() and monotonic() < until:  # for the other to come
        sleep(0.01)
    return plain(given)

svhn.read = read
data.prepare("svhn", folder)
print(data.load("svhn", folder).checksum)
"""


def test_of_two_processes_one_decodes_and_the_other_waits(tmp_path, monkeypatch):
    write_svhn(tmp_path)
    monkeypatch.setattr(svhn, "read", lambda folder: pytest.fail("decoded twice"))
    said = []

    def say(line):
        said.append(line)
        (tmp_path / "waits").touch()

    with subprocess.Popen(
        [sys.executable, "-c", SLOW, tmp_path],
        cwd=catalogue.ROOT,
        stdout=subprocess.PIPE,
        text=True,
    ) as other:
        while not (tmp_path / "reads").exists() and other.poll() is None:
            time.sleep(0.01)
        path = data.prepare("svhn", tmp_path, say)
        checksum = other.communicate(timeout=30)[0].strip()
    assert ["svhn belongs to another running job" in line for line in said] == [True]
    assert path == data.prepared("svhn", tmp_path)
    assert data.load("svhn", tmp_path).checksum == checksum
