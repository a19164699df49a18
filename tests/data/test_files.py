"""Download and import, against a server on this machine."""

from __future__ import annotations

import errno
import gzip
import hashlib
import os
import re
import socket
import tarfile
import threading
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from bnnbench.data import cards as cards
from bnnbench.data import download
from bnnbench.data.cards import Card, card, names
from bnnbench.data.download import addresses, fetch
from bnnbench.data.files import data_root as root_of
from bnnbench.data.files import present, read, verify
from bnnbench.data.loaders import load
from bnnbench.data.local import import_local
from bnnbench.errors import UserError

CONTENT = {"data.txt": b"1 2 3\n" * 50_000, "index.txt": b"0\n1\n"}


@dataclass
class Server:
    """Files by path; `short` paths promise more bytes than they send, `slow` ones never answer."""

    url: str = ""
    files: dict[str, bytes] = field(default_factory=lambda: {f"/{name}": text for name, text in CONTENT.items()})
    short: set[str] = field(default_factory=set)
    slow: set[str] = field(default_factory=set)
    asked: list[str] = field(default_factory=list)
    over: threading.Event = field(default_factory=threading.Event)


@pytest.fixture
def server() -> Iterator[Server]:
    state = Server()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            state.asked.append(self.path)
            if self.path in state.slow:
                state.over.wait(10)
                return
            if self.path not in state.files:
                self.send_error(404)
                return
            text = state.files[self.path]
            self.send_response(200)
            self.send_header("Content-Length", str(len(text) + (1000 if self.path in state.short else 0)))
            self.end_headers()
            self.wfile.write(text)

        def log_message(self, *_: object) -> None:
            """Silent."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as http:
        thread = threading.Thread(target=http.serve_forever, args=(0.01,))
        thread.start()
        state.url = f"http://127.0.0.1:{http.server_address[1]}/"
        yield state
        state.over.set()
        http.shutdown()
        thread.join()


@pytest.fixture
def entry(server: Server) -> Card:
    sums = {name: hashlib.sha256(text).hexdigest() for name, text in CONTENT.items()}
    return replace(card("housing"), folder="uci/housing", url=server.url, files=sums)


@pytest.fixture
def packed(server: Server, entry: Card) -> Card:
    """The same files from a server that holds them gzipped; one checksum is an md5."""
    server.files = {f"/{name}.gz": gzip.compress(text, 9) for name, text in CONTENT.items()}
    sums = entry.files | {"index.txt": "md5:" + hashlib.md5(CONTENT["index.txt"]).hexdigest()}
    return replace(entry, files=sums, compressed=True)


def _left(root: Path) -> list[str]:
    return sorted(path.name for path in root.rglob("*") if path.is_file())


def test_fetch(server: Server, entry: Card, tmp_path: Path) -> None:
    assert not present(entry, tmp_path)
    fetch(entry, tmp_path)
    assert present(entry, tmp_path)
    assert verify(tmp_path, (entry,)) == [("housing", "ok", 2, (), str(tmp_path / entry.folder))]
    assert _left(tmp_path) == ["data.txt", "index.txt"]
    assert (tmp_path / entry.folder / "data.txt").read_bytes() == CONTENT["data.txt"]
    fetch(entry, tmp_path)
    assert len(server.asked) == 2  # nothing is downloaded twice


def test_fetch_goes_on_where_it_stopped(server: Server, entry: Card, tmp_path: Path) -> None:
    text = server.files.pop("/index.txt")
    with pytest.raises(UserError):
        fetch(entry, tmp_path)
    server.files["/index.txt"] = text
    fetch(entry, tmp_path)
    assert server.asked == ["/data.txt", "/index.txt", "/index.txt"]


def _fails(entry: Card, root: Path, reason: str) -> None:
    """The sentence names the file, the source, the folder, the reason and the way out; nothing is left in place."""
    with pytest.raises(UserError) as caught:
        fetch(entry, root)
    sentence = str(caught.value)
    for part in (
        "data.txt",
        entry.url + "data.txt",
        str(root / entry.folder),
        "bnnbench data import housing PATH",
        reason,
    ):
        assert part in sentence
    assert "\n" not in sentence
    assert _left(root) == []


def test_mirrors_are_tried_in_turn(server: Server, packed: Card, tmp_path: Path, monkeypatch) -> None:
    """One that lacks the files, one whose files are others, one that has them."""
    from torchvision.datasets import MNIST

    monkeypatch.setattr(MNIST, "mirrors", [f"{server.url}{place}/" for place in ("none", "altered", "whole")])
    for name, raw in server.files.copy().items():
        server.files |= {f"/altered{name}": b"altered", f"/whole{name}": raw}
    entry = replace(packed, url="", torchvision="MNIST")
    server.files.pop("/whole/index.txt.gz")
    with pytest.raises(UserError, match=rf"Cannot download index\.txt\.gz of housing from {server.url}none/index"):
        fetch(entry, tmp_path)
    assert _left(tmp_path) == ["data.txt.gz"]
    server.files["/whole/index.txt.gz"] = server.files["/index.txt.gz"]
    fetch(entry, tmp_path)
    assert verify(tmp_path, (entry,))[0].state == "ok"
    assert server.asked[:3] == [f"/{place}/data.txt.gz" for place in ("none", "altered", "whole")]


def test_no_such_file(server: Server, entry: Card, tmp_path: Path) -> None:
    server.files.clear()
    _fails(entry, tmp_path, "404")


def test_corrupted_content(server: Server, entry: Card, tmp_path: Path) -> None:
    server.files["/data.txt"] = b"<html>please log in</html>"
    _fails(entry, tmp_path, "does not match its checksum")


def test_broken_connection(server: Server, entry: Card, tmp_path: Path) -> None:
    server.short.add("/data.txt")
    _fails(entry, tmp_path, "the connection broke off")


def test_no_answer(server: Server, entry: Card, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(download, "TIMEOUT", 0.2)
    server.slow.add("/data.txt")
    _fails(entry, tmp_path, "no answer")


def test_nobody_listens(entry: Card, tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    _fails(replace(entry, url=f"http://127.0.0.1:{port}/"), tmp_path, "no connection")


def test_offline(entry: Card, tmp_path: Path) -> None:
    _fails(replace(entry, url="http://no-such-host.invalid/"), tmp_path, "no connection")


def test_a_wrong_file_stays_until_forced(entry: Card, tmp_path: Path) -> None:
    path = tmp_path / entry.folder / "data.txt"
    path.parent.mkdir(parents=True)
    path.write_bytes(b"mine")
    with pytest.raises(UserError, match=r"data\.txt does not match its checksum; run `bnnbench data fetch housing"):
        fetch(entry, tmp_path)
    assert path.read_bytes() == b"mine"
    fetch(entry, tmp_path, force=True)
    assert verify(tmp_path, (entry,))[0].state == "ok"


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EROFS, errno.EACCES])
def test_a_folder_that_cannot_be_written(
    entry: Card, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    def refuse(handle: int) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr("os.fsync", refuse)
    with pytest.raises(UserError, match=rf"Cannot write .*{os.strerror(code)}.*--data-dir"):
        fetch(entry, tmp_path)
    assert _left(tmp_path) == []


def test_a_file_where_the_folder_should_be(entry: Card, tmp_path: Path) -> None:
    (tmp_path / "uci").write_text("")
    with pytest.raises(UserError, match="Cannot write"):
        fetch(entry, tmp_path)


def test_fetch_of_compressed_files(server: Server, packed: Card, tmp_path: Path) -> None:
    """The content is checked, not the gzip around it; a plain file counts as there."""
    folder = tmp_path / packed.folder
    folder.mkdir(parents=True)
    (folder / "index.txt").write_bytes(CONTENT["index.txt"])
    fetch(packed, tmp_path)
    assert server.asked == ["/data.txt.gz"]
    assert _left(tmp_path) == ["data.txt.gz", "index.txt"]
    assert verify(tmp_path, (packed,)) == [("housing", "ok", 2, (), str(folder))]
    assert all(read(packed, tmp_path, name) == CONTENT[name] for name in CONTENT)
    (folder / "data.txt.gz").write_bytes(gzip.compress(CONTENT["data.txt"], 1))
    fetch(packed, tmp_path)
    assert len(server.asked) == 1


@pytest.mark.parametrize(
    "text",
    [b"<html>please log in</html>", gzip.compress(b"other"), gzip.compress(b"cut")[:-6], b""],
    ids=["page", "other", "cut", "empty"],  # compressed bytes hold the time: no name two workers agree on
)
def test_compressed_files_that_are_none(text: bytes, server: Server, packed: Card, tmp_path: Path) -> None:
    server.files["/data.txt.gz"] = text
    _fails(packed, tmp_path, "does not match its checksum")
    path = tmp_path / packed.folder / "data.txt.gz"
    path.parent.mkdir(parents=True)
    path.write_bytes(text)
    assert verify(tmp_path, (packed,))[0].bad == ("data.txt", "index.txt")
    with pytest.raises(UserError, match=r"data\.txt\.gz does not match its checksum; run `bnnbench data fetch housing"):
        fetch(packed, tmp_path)


def test_forced_compressed_files_replace_wrong_plain_ones(packed: Card, tmp_path: Path) -> None:
    path = tmp_path / packed.folder / "data.txt"
    path.parent.mkdir(parents=True)
    path.write_bytes(b"mine")
    with pytest.raises(UserError, match=r"data\.txt does not match its checksum"):
        fetch(packed, tmp_path)
    fetch(packed, tmp_path, force=True)
    assert _left(tmp_path) == ["data.txt.gz", "index.txt.gz"]
    assert verify(tmp_path, (packed,))[0].state == "ok"


def test_a_file_that_cannot_be_opened(entry: Card, tmp_path: Path) -> None:
    (tmp_path / entry.folder / "data.txt").mkdir(parents=True)
    assert verify(tmp_path, (entry,))[0][1:4] == ("corrupt", 2, ("data.txt", "index.txt"))
    with pytest.raises(UserError, match=r"data\.txt cannot be read"):
        fetch(entry, tmp_path)


def _source(kind: str, folder: Path) -> Path:
    """A local copy of the set, deep inside a folder or an archive, beside a file of the same name."""
    inner = folder / "copy" / "a" / "housing"
    inner.mkdir(parents=True)
    for name, text in CONTENT.items():
        (inner / name).write_bytes(text)
    (folder / "copy" / "data.txt").write_bytes(b"of another set")
    if kind == "zip":
        with zipfile.ZipFile(folder / "copy.zip", "w") as archive:
            for path in sorted((folder / "copy").rglob("*.txt")):
                archive.write(path, path.relative_to(folder))
        return folder / "copy.zip"
    if kind == "tar":
        with tarfile.open(folder / "copy.tar.gz", "w:gz") as archive:
            archive.add(folder / "copy", "copy")
        return folder / "copy.tar.gz"
    return folder / "copy"


@pytest.mark.parametrize("kind", ["folder", "zip", "tar"])
def test_import(kind: str, entry: Card, tmp_path: Path) -> None:
    import_local(entry, _source(kind, tmp_path), tmp_path / "root")
    assert verify(tmp_path / "root", (entry,))[0].state == "ok"
    assert _left(tmp_path / "root") == ["data.txt", "index.txt"]


def test_import_of_one_file(entry: Card, tmp_path: Path) -> None:
    single = replace(entry, files={"data.txt": entry.files["data.txt"]})
    import_local(single, _source("folder", tmp_path) / "a/housing/data.txt", tmp_path / "root")
    assert present(single, tmp_path / "root")


@pytest.mark.data
def test_import_of_a_data_root(data_root: Path, tmp_path: Path) -> None:
    import_local(card("yacht"), data_root / "uci", tmp_path)
    assert present(card("yacht"), tmp_path)
    assert load("yacht", tmp_path).x.shape == (308, 6)


def test_import_refuses_what_is_no_copy(entry: Card, tmp_path: Path) -> None:
    source, root = _source("folder", tmp_path), tmp_path / "root"
    (source / "a/housing/data.txt").write_bytes(b"altered")
    with pytest.raises(UserError, match=r"is not a copy of housing: data\.txt does not match its checksum; nothing"):
        import_local(entry, source, root)
    (source / "a/housing/index.txt").unlink()
    (source / "a/housing/data.txt").unlink()
    (source / "data.txt").unlink()
    with pytest.raises(UserError, match=r"data\.txt is not there, nor is 1 other usable; nothing was imported"):
        import_local(entry, source, root)
    with pytest.raises(UserError, match="There is no file or folder"):
        import_local(entry, tmp_path / "nowhere", root)
    with pytest.raises(UserError, match=r"needs no files \(scikit-learn\)"):
        import_local(card("digits"), source, root)
    assert not root.exists()


def test_import_of_a_broken_archive(entry: Card, tmp_path: Path) -> None:
    source = _source("tar", tmp_path)
    source.write_bytes(source.read_bytes()[:300])
    with pytest.raises(UserError, match=r"copy\.tar\.gz"):
        import_local(entry, source, tmp_path / "root")
    assert not (tmp_path / "root").exists()


def test_load_fetches_what_is_missing(entry: Card, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    monkeypatch.setattr("bnnbench.data.loaders.fetch", lambda card, root: asked.append((card.name, root)))
    with pytest.raises(UserError, match=r"data\.txt is missing; run `bnnbench data fetch housing`"):
        load("housing", tmp_path)
    assert asked == [("housing", tmp_path)]


def test_the_data_root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BNNBENCH_DATA", "~/data")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert root_of() == tmp_path / "data"
    assert root_of("/elsewhere") == Path("/elsewhere")
    monkeypatch.delenv("BNNBENCH_DATA")
    assert root_of().parts[-2:] == ("datasets", "cache")
    monkeypatch.setattr("bnnbench.data.files.REPOSITORY", tmp_path)
    assert "bnnbench" in root_of().parts


def test_cards_are_complete() -> None:
    for name in names():
        entry = card(name)
        assert entry.title
        assert entry.licence
        assert entry.citation
        assert entry.rows > 0
        assert (entry.origin in ("download", "local")) == bool(entry.files)
        assert (entry.origin == "download") == bool(addresses(entry))
        assert not (entry.url and entry.torchvision)
        for url in addresses(entry):  # plain http is as safe as the checksum that the content is held against
            assert url.startswith(("https://", "http://"))
            assert url.endswith("/")
        assert all(re.fullmatch("[0-9a-f]{64}|md5:[0-9a-f]{32}", checksum) for checksum in entry.files.values())
        assert next(iter(entry.splits)) in ("10fold", "fixed", "official")
        assert bool(entry.columns) != bool(entry.shape)


def test_an_unknown_name_offers_the_nearest() -> None:
    with pytest.raises(UserError, match=r"no data set 'housin'; did you mean housing\?"):
        card("housin")


def test_cards_of_a_wheel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    checkout = cards.folder()
    monkeypatch.setattr(cards, "HERE", tmp_path)
    assert cards.folder() == checkout
    (tmp_path / "card_files").mkdir()
    assert cards.folder() == tmp_path / "card_files"
