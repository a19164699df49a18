"""Data cards: what is known of each data set, and the checksums of its files."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from bnnbench.errors import UserError
from bnnbench.registry import nearest

HERE = Path(__file__).resolve().parent
REPOSITORY = HERE.parents[1]  # of a checkout or an editable install; meaningless in a wheel


@dataclass(frozen=True)
class Card:
    """One file of `datasets/cards`.

    Attributes:
        name: name of the data set; the file's stem.
        title, description, source, licence, citation: for people; an unknown licence says `unknown`.
        target: name of the target with its unit.
        rows: number of rows after repair; another count is an error.
        splits: split rule -> number of its splits, the default rule first.
        columns: names of the inputs, in order; none for images.
        shape: (channels, height, width) of an image; () for tables.
        issues: sentences on known faults, shown by the report.
        origin: `download`, `local` (files that no address offers), `scikit-learn` or `generated`.
        folder: folder of the files, relative to the data root.
        url: address of the folder that holds the files, ending with a slash.
        torchvision: instead of `url`, the class of `torchvision.datasets` whose `mirrors` hold the files.
        files: file name -> checksum of its content in hex: a sha256, or `md5:` and an md5 where no other is published.
        checksum: of the data in memory (`Data.checksum`), where no file has one: generated, or brought by a library.
        compressed: each file lies there as `name` or, with gzip, as `name.gz`; checksums are of the uncompressed
            content, which another gzip does not change. `name.gz` is what a download fetches.
    """

    name: str
    title: str
    description: str
    source: str
    licence: str
    citation: str
    target: str
    rows: int
    splits: dict[str, int]
    columns: tuple[str, ...] = ()
    shape: tuple[int, ...] = ()
    issues: tuple[str, ...] = ()
    origin: str = "download"
    folder: str = ""
    url: str = ""
    torchvision: str = ""
    files: dict[str, str] = field(default_factory=dict)
    checksum: str = ""
    compressed: bool = False

    @property
    def if_missing(self) -> str:
        """How to get a file that is missing, in words."""
        return f"run `bnnbench data fetch {self.name}` or, with a local copy, `bnnbench data import {self.name} PATH`"

    @property
    def if_altered(self) -> str:
        """How to get a file that is altered."""
        return f"run `bnnbench data fetch {self.name} --force`"


def folder() -> Path:
    """Where the cards lie: in an installed wheel beside this file, in a checkout under `datasets`."""
    installed = HERE / "card_files"
    return installed if installed.is_dir() else REPOSITORY / "datasets" / "cards"


@cache
def names() -> tuple[str, ...]:
    """Names of all data sets that have a card."""
    return tuple(sorted(path.stem for path in folder().glob("*.toml")))


@cache
def card(name: str) -> Card:
    """The card of a data set.

    Raises:
        UserError: no such card, or one that cannot be read.
    """
    if name not in names():
        raise UserError(f"There is no data set {name!r}{nearest(name, names())}")
    path = folder() / f"{name}.toml"
    try:
        fields = tomllib.loads(path.read_text(encoding="utf-8"))
        fields |= {key: tuple(fields[key]) for key in ("columns", "shape", "issues") if key in fields}
        return Card(name=name, **fields)
    except (tomllib.TOMLDecodeError, TypeError) as error:
        raise UserError(f"The data card {path} cannot be read ({error}); fix it.") from error
