"""The cache of Java parts against a repository on loopback: what is wrong is found, what is missing is fetched once."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from rich.console import Console

from deploy.local import download, ports
from deploy.local.errors import DownloadError, NoNetworkError, WrongChecksumError
from deploy.local.jars import Jar

CONTENT = b"the content of a jar" * 1000


def jar(name: str = "part", content: bytes = CONTENT) -> Jar:
    sha256 = hashlib.sha256(content).hexdigest()
    return Jar(group="org.example", artifact=name, version="1", classifier="", size=len(content), sha256=sha256)


class Repository:
    """Serves paths from memory and counts what was asked."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.asked: list[str] = []
        repository = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                repository.asked.append(self.path)
                content = repository.files.get(self.path)
                self.send_response(404 if content is None else 200)
                self.send_header("Content-Length", str(len(content or b"")))
                self.end_headers()
                self.wfile.write(content or b"")

            def log_message(self, format: str, *arguments: object) -> None:
                pass

        self.server = ThreadingHTTPServer((ports.HOST, 0), Handler)
        self.url = f"http://{ports.HOST}:{self.server.server_port}/maven"

    def serve(self, *wanted: Jar, content: bytes = CONTENT) -> None:
        self.files |= {f"/maven/{one.path}": content for one in wanted}


@pytest.fixture
def repository(monkeypatch: pytest.MonkeyPatch) -> Iterator[Repository]:
    repository = Repository()
    thread = threading.Thread(target=repository.server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    monkeypatch.setenv("LOCKSTEP_MAVEN_REPOSITORY", repository.url)
    for variable in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(variable, raising=False)
    yield repository
    repository.server.shutdown()
    thread.join()
    repository.server.server_close()


@pytest.fixture
def console() -> Console:
    return Console(quiet=True)


def test_each_part_is_fetched_once(tmp_path: Path, repository: Repository, console: Console) -> None:
    wanted = [jar(f"part{number}") for number in range(20)]
    repository.serve(*wanted)
    assert download.ensure(tmp_path, [*wanted, *wanted], console) == 20 * len(CONTENT)
    assert download.missing(tmp_path, wanted) == []
    assert download.ensure(tmp_path, wanted, console) == 0
    assert len(repository.asked) == 20


@pytest.mark.parametrize("rotten", [CONTENT[:-1], b"X" + CONTENT[1:], b""], ids=["cut", "one byte", "empty"])
def test_a_file_that_rotted_in_the_cache_is_found_and_fetched_again(
    tmp_path: Path, repository: Repository, console: Console, rotten: bytes
) -> None:
    good, bad = jar("good"), jar("bad")
    repository.serve(good, bad)
    download.ensure(tmp_path, [good, bad], console)
    download.place(tmp_path, bad).write_bytes(rotten)
    assert download.missing(tmp_path, [good, bad]) == [bad]
    download.ensure(tmp_path, [good, bad], console)
    assert download.place(tmp_path, bad).read_bytes() == CONTENT


def test_what_is_not_the_locked_file_is_refused_and_leaves_nothing(
    tmp_path: Path, repository: Repository, console: Console
) -> None:
    repository.serve(jar(), content=b"X" + CONTENT[1:])
    with pytest.raises(WrongChecksumError, match=r"org\.example:part:1 .* is not the locked file"):
        download.ensure(tmp_path, [jar()], console)
    assert [path for path in tmp_path.rglob("*") if path.suffix in (".jar", ".part")] == []


def test_what_an_interrupted_download_left_is_cleared(tmp_path: Path, repository: Repository, console: Console) -> None:
    repository.serve(jar())
    left = download.place(tmp_path, jar()).with_name("part-1.jar.77.part")
    left.parent.mkdir(parents=True)
    left.write_bytes(CONTENT[:100])
    download.ensure(tmp_path, [jar()], console)
    assert not left.exists()


def test_an_absent_part_names_the_repository_and_the_status(
    tmp_path: Path, repository: Repository, console: Console
) -> None:
    with pytest.raises(DownloadError, match=r"/maven answered 404 for org/example/part/1/part-1\.jar"):
        download.ensure(tmp_path, [jar()], console)


def test_no_network_says_so_and_what_to_do(
    tmp_path: Path, repository: Repository, console: Console, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed = ports.choose({}, {})["kafka"]
    monkeypatch.setenv("LOCKSTEP_MAVEN_REPOSITORY", f"http://{ports.HOST}:{closed}")
    with pytest.raises(NoNetworkError, match="could not be downloaded") as caught:
        download.ensure(tmp_path, [jar()], console)
    assert "the first start needs the network" in caught.value.hint
