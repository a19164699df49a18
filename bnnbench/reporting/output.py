"""The report's folder: written whole or not at all.

Files are kept in memory until all are made, then written beside their places and moved there together; whatever fails
on the way, the folder is afterwards what it was before. Files of an earlier report that nobody writes any more go;
files of others stay.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bnnbench.errors import UserError

MANIFEST = "manifest.json"
FOLDERS = (Path("tables"), Path("figures"))
PAGES = (".md", ".html")  # suffixes of files beside these folders
WRITTEN = (Path("index.html"), Path("index.md"), Path(MANIFEST), *FOLDERS)  # what any report may write in its folder
LONGEST = 120  # characters of a file's stem


def file_stem(name: str) -> str:
    """A name that any file system takes and that leads nowhere else; one that had to change ends in its own hash."""
    plain = re.sub(r"[^\w.\-]+", "-", name, flags=re.ASCII).lstrip(".-")
    if plain and plain == name and len(name) <= LONGEST:
        return name
    return f"{plain[:LONGEST]}-{hashlib.sha256(name.encode(errors='replace')).hexdigest()[:8]}"


class Output:
    """Gathers files below `root`; `finish` puts them there and removes what an earlier report left."""

    def __init__(self, root: Path | str) -> None:
        self.root = Path(root)
        self.files: dict[str, bytes] = {}

    def write(self, name: str, content: bytes | str) -> None:
        """Take one file into the report; `name` is its path below the root."""
        self.files[name] = content.encode(errors="replace") if isinstance(content, str) else content

    def finish(self) -> list[Path]:
        """Put all into place, and the manifest with it; returns the paths written.

        Raises:
            UserError: a file cannot be written or moved; then nothing has changed.
        """
        self.write(MANIFEST, json.dumps(sorted(self.files), indent=1) + "\n")
        stale = sorted(name for name in self._previous() - set(self.files) if (self.root / name).is_file())
        with _faults(self.root), self._stage() as stage:
            for name, content in self.files.items():
                path = stage / "new" / name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(content)
            self._move(stage, stale)
        return [self.root / name for name in self.files]

    @contextmanager
    def _stage(self) -> Iterator[Path]:
        """A folder on the file system of the root: in it, or in the nearest folder above that exists."""
        missing = [folder for folder in (self.root, *self.root.parents) if not folder.exists()]
        home = self.root if not missing else missing[-1].parent
        stage = Path(tempfile.mkdtemp(prefix=".bnnbench-report-", dir=home))
        try:
            yield stage
        finally:
            shutil.rmtree(stage, ignore_errors=True)

    def _move(self, stage: Path, stale: list[str]) -> None:
        """Each old file aside and each new one to its place; all back on a fault."""
        made: list[Path] = []
        moved: list[tuple[Path, Path]] = []

        def move(source: Path, target: Path) -> None:
            absent = [folder for folder in target.parents if not folder.exists()]
            target.parent.mkdir(parents=True, exist_ok=True)
            made.extend(reversed(absent))
            os.replace(source, target)
            moved.append((source, target))

        try:
            for name in [*stale, *self.files]:
                old = self.root / name
                if os.path.lexists(old) and not old.is_dir():
                    move(old, stage / "old" / name)
                if name in self.files:
                    move(stage / "new" / name, old)
        except BaseException:
            for source, target in reversed(moved):
                os.replace(target, source)
            for folder in reversed(made):
                if folder.exists() and not any(folder.iterdir()):
                    folder.rmdir()
            raise

    def _previous(self) -> set[str]:
        """Files of the last manifest that are ours to remove: pages, and what is directly in tables/ or figures/."""
        try:
            listed = json.loads((self.root / MANIFEST).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return set()
        names = {name for name in listed if isinstance(name, str)} if isinstance(listed, list) else set()
        return {name for name in names if _ours(Path(name))}


def _ours(path: Path) -> bool:
    return path.parent in FOLDERS or (path.parent == Path() and path.suffix in PAGES)


@contextmanager
def _faults(root: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise UserError(
            f"Cannot write the report to {root} ({error.strerror or error}), which is as it was before; free space, "
            "change permissions or choose another folder with --out."
        ) from error
