"""Official files are downloaded once, go on where they broke off, and are checked."""

import hashlib
import threading
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest
from miniatures import left_behind, prepared, tiny_files, write_med, write_svhn, write_tiny

from bench import data
from bench.data import svhn, tiny_imagenet, tissuemnist
from bench.data._files import fetch

CONTENT = np.random.default_rng(0).bytes(600_000)
SUM = "sha256:" + hashlib.sha256(CONTENT).hexdigest()


class Server(ThreadingHTTPServer):
    """Serves one content under every name, and may break off or know no ranges."""

    def __init__(self, content):
        super().__init__(("127.0.0.1", 0), Handler)
        self.content, self.ranges, self.status = content, True, 200
        self.breaks = []  # bytes after which each next connection breaks off
        self.asked, self.sent = [], []
        self.url = f"http://127.0.0.1:{self.server_port}/file"


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        server = self.server
        server.asked.append(self.headers["Range"])
        start = int(self.headers["Range"].removeprefix("bytes=").removesuffix("-"))
        body = server.content[start if server.ranges else 0 :]
        status = server.status
        if status == 200 and server.ranges:
            status = 206 if body else 416
        if status not in (200, 206):
            self.send_error(status)
            return
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        body = body[: server.breaks.pop(0)] if server.breaks else body
        server.sent.append(len(body))
        self.wfile.write(body)

    def log_message(self, *args):
        pass


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with Server(CONTENT) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def test_a_file_is_downloaded_once(tmp_path, server):
    path = fetch(server.url, tmp_path / "new" / "file", SUM)
    assert fetch(server.url, path, SUM) == path
    assert path.read_bytes() == CONTENT
    assert server.sent == [len(CONTENT)]
    assert not left_behind(tmp_path)


def test_a_broken_download_goes_on_where_it_stopped(tmp_path, server):
    server.breaks = [250_000, 100_000]
    assert fetch(server.url, tmp_path / "file", SUM).read_bytes() == CONTENT
    assert server.asked == ["bytes=0-", "bytes=250000-", "bytes=350000-"]
    assert sum(server.sent) == len(CONTENT)
    assert not left_behind(tmp_path)


def test_a_download_given_up_is_kept_for_the_next_try(tmp_path, server):
    server.breaks = [250_000, 0, 0, 0, 0, 0]
    with pytest.raises(OSError, match=r"broke off\)\. Put file into .*goes on where it stopped"):
        fetch(server.url, tmp_path / "file", SUM)
    assert (tmp_path / "file.part").stat().st_size == 250_000
    assert not (tmp_path / "file").exists()
    assert fetch(server.url, tmp_path / "file", SUM).read_bytes() == CONTENT
    assert sum(server.sent) == len(CONTENT)


def test_a_server_that_cannot_go_on_starts_again(tmp_path, server):
    server.ranges, server.breaks = False, [250_000]
    assert fetch(server.url, tmp_path / "file", SUM).read_bytes() == CONTENT
    assert server.sent == [250_000, len(CONTENT)]


def test_a_download_that_is_complete_is_not_asked_for_again(tmp_path, server):
    (tmp_path / "file.part").write_bytes(CONTENT)
    assert fetch(server.url, tmp_path / "file", SUM).read_bytes() == CONTENT
    assert (server.asked, server.sent) == ([f"bytes={len(CONTENT)}-"], [])
    assert not left_behind(tmp_path)


def test_a_file_that_is_not_served_says_what_to_put_where(tmp_path, server):
    server.status = 404
    match = rf"failed \(HTTP Error 404.*\)\. Put file into {tmp_path}, or name .*ONESTEP_DATA"
    with pytest.raises(OSError, match=match):
        fetch(server.url, tmp_path / "file", SUM)
    assert len(server.asked) == 1
    assert not left_behind(tmp_path)


def test_a_download_with_another_sum_is_removed(tmp_path, server):
    wrong = "sha256:" + 64 * "0"
    with pytest.raises(ValueError, match=rf"has not the published {wrong}; try again"):
        fetch(server.url, tmp_path / "file", wrong)
    assert not [*tmp_path.iterdir()]


def test_a_downloaded_archive_is_official(tmp_path, server, monkeypatch):
    write_tiny(tmp_path, tiny_files(), packed=True)
    server.content = (tmp_path / "tiny-imagenet-200.zip").read_bytes()
    sums = {"tiny-imagenet-200.zip": "sha256:" + hashlib.sha256(server.content).hexdigest()}
    monkeypatch.setattr(tiny_imagenet, "URL", server.url)
    monkeypatch.setattr(tiny_imagenet, "INFO", tiny_imagenet.INFO._replace(classes=3, files=sums))
    assert prepared("tiny_imagenet", tmp_path / "elsewhere").official


def test_a_downloaded_npz_is_official(tmp_path, server, monkeypatch):
    import medmnist

    write_med(tmp_path, "tissuemnist")
    server.content = (tmp_path / "tissuemnist.npz").read_bytes()
    md5 = hashlib.md5(server.content).hexdigest()
    monkeypatch.setitem(medmnist.INFO, "tissuemnist", {"url": server.url, "MD5": md5})
    sums = {"tissuemnist.npz": f"md5:{md5}"}
    monkeypatch.setattr(tissuemnist, "INFO", tissuemnist.INFO._replace(files=sums))
    assert prepared("tissuemnist", tmp_path / "elsewhere").official


def test_downloaded_matlab_files_are_official(tmp_path, server, monkeypatch):
    write_svhn(tmp_path)
    server.content = (tmp_path / "train_32x32.mat").read_bytes()  # for both names
    sums = dict.fromkeys(svhn.INFO.files, "sha256:" + hashlib.sha256(server.content).hexdigest())
    monkeypatch.setattr(svhn, "URL", server.url)
    monkeypatch.setattr(svhn, "INFO", svhn.INFO._replace(files=sums))
    assert svhn.read(tmp_path / "elsewhere").official  # not prepared: the splits are the same


@pytest.mark.parametrize(
    ("dataset", "file"),
    [
        ("tiny_imagenet", "tiny-imagenet-200.zip"),
        ("svhn", "train_32x32.mat"),
        ("pathmnist", "pathmnist.npz"),
        ("tissuemnist", "tissuemnist.npz"),
    ],
)
def test_without_network_it_is_said_which_file_to_put_where(tmp_path, monkeypatch, dataset, file):
    def refuse(*args, **rest):
        raise OSError("no route to host")

    monkeypatch.setattr(urllib.request, "urlopen", refuse)
    with pytest.raises(OSError, match=rf"no route to host\)\. Put {file} into {tmp_path}, or"):
        data.prepare(dataset, tmp_path)
    assert not left_behind(tmp_path)
