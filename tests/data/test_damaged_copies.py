"""Copies that are damaged, endless or no files at all: one sentence, and nothing is written."""

from __future__ import annotations

import gzip
import hashlib
import os
import re
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest

from bnnbench.data.cards import Card, card
from bnnbench.data.files import data_root, verify
from bnnbench.data.local import import_local
from bnnbench.errors import UserError


@pytest.fixture
def entry() -> Card:
    return replace(card("housing"), folder="uci/housing", files={"data.txt": hashlib.sha256(b"1 2 3").hexdigest()})


@pytest.fixture
def packed(entry: Card) -> Card:
    return replace(entry, compressed=True)


@pytest.mark.parametrize("method", [zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_import_of_an_archive_with_damaged_content(method: int, entry: Card, tmp_path: Path) -> None:
    """Its directory is whole; what decompresses its files raises errors of its own kind."""
    archive = tmp_path / "copy.zip"
    with zipfile.ZipFile(archive, "w", method) as file:
        file.writestr("data.txt", bytes(range(256)) * 40)
        place = file.getinfo("data.txt").header_offset + 30 + len("data.txt")
    content = bytearray(archive.read_bytes())
    content[place : place + 40] = b"\xff" * 40
    archive.write_bytes(content)
    with pytest.raises(UserError, match=r"copy\.zip cannot be read"):
        import_local(entry, archive, tmp_path / "root")
    assert not (tmp_path / "root").exists()


def test_import_of_what_expands_without_end(packed: Card, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bnnbench.data.local.LARGEST", 10_000)
    monkeypatch.setattr("bnnbench.data.files.LARGEST", 10_000)
    name = next(iter(packed.files))
    archive, plain, folder = tmp_path / "copy.zip", tmp_path / "far" / name, tmp_path / "near"
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr(name, bytes(10_001))
    plain.parent.mkdir()
    plain.write_bytes(bytes(10_001))
    for source in (archive, plain, plain.parent):
        with pytest.raises(UserError, match=rf"{re.escape(name)} in .* GiB, more than any file of a data set"):
            import_local(packed, source, tmp_path / "root")
    folder.mkdir()
    (folder / f"{name}.gz").write_bytes(gzip.compress(bytes(10_001)))
    with pytest.raises(UserError, match="does not match its checksum"):
        import_local(packed, folder, tmp_path / "root")
    assert not (tmp_path / "root").exists()


def test_pipes_are_not_waited_for(entry: Card, tmp_path: Path) -> None:
    name, folder = next(iter(entry.files)), tmp_path / "root" / entry.folder
    folder.mkdir(parents=True)
    os.mkfifo(folder / name)
    with pytest.raises(UserError, match="There is no file or folder"):
        import_local(entry, folder / name, tmp_path / "other")
    with pytest.raises(UserError, match="is not there"):
        import_local(entry, folder, tmp_path / "other")
    assert verify(tmp_path / "root", (entry,))[0].state == "missing"


def test_the_home_of_nobody(entry: Card, tmp_path: Path) -> None:
    for call in (lambda: data_root("~nosuchuser/data"), lambda: import_local(entry, "~nosuchuser/data", tmp_path)):
        with pytest.raises(UserError, match="~nosuchuser/data names a home folder that is not known"):
            call()
