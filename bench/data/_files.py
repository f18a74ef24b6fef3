"""Official files: found below the data folder, compared with published sums, or downloaded."""

import csv
import hashlib
import http.client
import pickle
import struct
import sys
import tokenize
import urllib.error
import urllib.request
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

TRIES = 5  # connections in a row that may break off without having brought anything
AT_ONCE = 2**18  # bytes
QUOTED = 200  # characters of a library's message
# what csv, numpy, pickle, Pillow, scipy and zipfile raise where bytes are missing or wrong
DAMAGED: tuple[type[Exception], ...] = (
    ArithmeticError, AttributeError, EOFError, LookupError, MemoryError, OSError, RuntimeError,
    SyntaxError, TypeError, ValueError, csv.Error, pickle.PickleError, struct.error,
    tokenize.TokenError, zipfile.BadZipFile, zlib.error,
)  # fmt: skip


@contextmanager
def reading(path: Path, *also: type[Exception]) -> Iterator[None]:
    """Name the file that cannot be read inside the block, which is a library's work alone.

    Args:
        also: what that library raises beside what all do.

    Raises:
        ValueError: it is damaged; says how to get another.
        OSError: the system does not let it be read.
    """
    try:
        yield
    except (*DAMAGED, *also) as error:
        if isinstance(error, OSError) and error.errno:  # the system's; wrong bytes have no number
            raise
        raise ValueError(
            f"{path} cannot be read ({brief(error)}); it is truncated or of another format: "
            "replace it, or, if it is one that is downloaded, remove it and try again"
        ) from None


def brief(error: BaseException) -> str:
    """What an error says, on one line and not at length: it may quote what the file holds."""
    text = " ".join(str(error).split()) or type(error).__name__
    text = "".join(c if c.isprintable() else "?" for c in text)
    return text if len(text) <= QUOTED else f"{text[:QUOTED]}..."


def below(folder: Path, name: str, example: str, archive: Path) -> Path:
    """Return where official files lie below a data folder.

    Args:
        name: of their own folder.
        example: one of the files.
        archive: of them, which is taken where their folder is not there.

    Raises:
        ValueError: the data folder is named one level too deep, or they lie in it loosely or one
            level deeper.
    """
    whole = folder.resolve()
    if whole.name == name and whole.is_dir():
        raise ValueError(f"name the folder that holds {name}, which is {whole.parent}")
    if (folder / example).is_file() and not ((folder / name).exists() or archive.exists()):
        raise ValueError(f"{folder / example} is looked for in {folder / name}; move all there")
    if not ((folder / name / example).exists() or archive.exists()):
        for deeper in folder.glob(f"*/{name}/{example}"):
            raise ValueError(f"{deeper.parent} is looked for as {folder / name}; move it there")
    return folder / name


def official(folder: Path, files: Mapping[str, str]) -> bool:
    """Are all files there, with their published sums."""
    there = all((folder / name).is_file() for name in files)
    return there and not differing(folder, files)


def differing(folder: Path, files: Mapping[str, str]) -> list[str]:
    """List the files that are there with other sums than published."""
    there = [name for name in files if (folder / name).is_file()]
    return [name for name in there if not matches(folder / name, files[name])]


def matches(path: Path, published: str) -> bool:
    """Has the file its published sum, "sha256:..." or "md5:..."."""
    kind, _, wanted = published.partition(":")
    with path.open("rb") as file:
        return hashlib.file_digest(file, kind).hexdigest() == wanted


def fetch(url: str, path: Path, published: str) -> Path:
    """Download a file unless it is there; goes on where an earlier try stopped.

    Raises:
        OSError: it cannot be had; says where to put which file.
        ValueError: what came has another sum than published, a folder has the file's name, or a
            file has it in other capitals.
    """
    if path.is_file():
        return path
    if path.is_dir():
        raise ValueError(f"{path} is a folder, and a file of this name is looked for; move it away")
    path.parent.mkdir(parents=True, exist_ok=True)
    for other in path.parent.iterdir():
        if other.name.lower() == path.name.lower():
            raise ValueError(f"{other} is looked for as {path.name}; rename it")
    part = path.with_name(f"{path.name}.part")
    idle = 0
    while True:
        before = part.stat().st_size if part.exists() else 0
        try:
            if _pull(url, part):
                break
            error: Exception = OSError("the connection broke off")
        except (OSError, http.client.HTTPException) as caught:
            error = caught
        idle = 0 if part.exists() and part.stat().st_size > before else idle + 1
        if idle == TRIES or isinstance(error, urllib.error.HTTPError):
            raise OSError(
                f"there is no {path}, and downloading {url} failed ({error}). Put {path.name} "
                f"into {path.parent}, or name the folder that holds it by ONESTEP_DATA (with "
                "Snakemake also by --config data_dir=FOLDER); a download goes on where it stopped"
            ) from None
    if not matches(part, published):
        part.unlink()
        raise ValueError(f"what came from {url} has not the published {published}; try again")
    return part.replace(path)


def _pull(url: str, part: Path) -> bool:
    """Append what is missing of a file; was that everything."""
    from tqdm import tqdm

    done = part.stat().st_size if part.exists() else 0
    request = urllib.request.Request(url, headers={"Range": f"bytes={done}-"})  # noqa: S310
    try:
        answer = urllib.request.urlopen(request, timeout=60)  # noqa: S310  # urls are constants
    except urllib.error.HTTPError as error:
        error.close()
        if error.code == http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE and done:
            return True  # all of it is here
        raise
    with answer:
        if answer.status != http.HTTPStatus.PARTIAL_CONTENT:
            done = 0  # a server that cannot go on sends everything
        total = done + int(answer.headers.get("Content-Length", 0))
        pace = 0.5 if sys.stderr.isatty() else 10.0  # seconds between two lines in a log
        with (
            part.open("ab" if done else "wb") as file,
            tqdm(total=total, initial=done, unit="B", unit_scale=True, mininterval=pace,
                 desc=part.stem) as bar,
        ):  # fmt: skip
            while block := answer.read(AT_ONCE):
                file.write(block)
                done += len(block)
                bar.update(len(block))
    return done >= total
