"""Tables of a user's own as tasks: from a DataFrame, or from what `bnnbench data add` wrote into the data root.

Their encoding is fitted split by split, on the training rows (`data.encoding`).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from bnnbench.arguments import path_of
from bnnbench.data import cards
from bnnbench.data.arrays import Data
from bnnbench.data.files import data_root
from bnnbench.data.guessing import Described, Wishes, described
from bnnbench.data.own import own_card, own_cards, own_data, refuse_taken, write_table
from bnnbench.data.reading import Form, read_table
from bnnbench.errors import UserError
from bnnbench.registry import Registry, nearest
from bnnbench.tasks.base import LONGEST, NAME, TASKS, Task

GROUP = "own"
SETTINGS = ("hidden", "noise", "noise_floor", "batch_size")  # that a table's user may choose
PORTABLE = ("name", "kind", "rules", *SETTINGS)  # what a stored posterior keeps


@dataclass(frozen=True)
class TableTask(Task):
    """A table with text and gaps, encoded by the training rows of each split."""

    def encoded(self, rule: str, index: int, root: Path | None = None) -> Data:
        return _encoded(self, rule, index, root)

    def portable(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in PORTABLE}

    @classmethod
    def from_portable(cls, content: Mapping[str, Any]) -> TableTask:
        """The task of which this is `portable`, without its data."""
        given: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value for name, value in content.items()
        }
        return cls(groups=(GROUP,), loader=_forgotten, **given)


@lru_cache(maxsize=32)
def _encoded(task: TableTask, rule: str, index: int, root: Path | None) -> Data:
    """The encoded table of a split; inputs that are those of the first split, as of a table without gaps and rare
    values, are kept once."""
    own = task.data(root).encoded(task.splits(rule, root)[index].train)
    if index == 0 or not np.array_equal(own.x, (first := _encoded(task, rule, 0, root)).x):
        return own
    return replace(own, x=first.x)


def _forgotten() -> Data:
    raise UserError("a stored posterior keeps no table; give the task itself.")


@dataclass(frozen=True)
class Given:
    """The loader of a table in memory; two are equal if their checksums are."""

    checksum: str
    data: Data = field(compare=False, repr=False)

    def __call__(self) -> Data:
        return self.data


@dataclass(frozen=True)
class InRoot:
    """The loader of a table in a data root; another table of the same name is another loader.

    Attributes:
        checksum: of its file.
    """

    name: str
    root: Path
    checksum: str

    def __call__(self) -> Data:
        return own_data(own_card(self.name, self.root), self.root)


def from_frame(frame: Any, wishes: Wishes, name: str, **settings: Any) -> TableTask:
    """See `Task.from_frame`."""
    if not isinstance(frame, pd.DataFrame):
        raise UserError(
            f"A task is made from a DataFrame, not from {type(frame).__name__}; pandas.DataFrame makes one."
        )
    if unknown := sorted(set(settings) - set(SETTINGS)):
        raise UserError(f"A table has no setting {unknown[0]!r}{nearest(unknown[0], SETTINGS)}")
    name = checked_name(name or slug(wishes.target))
    found = described(name, frame, wishes)
    loader = Given(found.data.checksum, found.data)
    return TableTask(name, found.kind, (GROUP,), found.rules, loader=loader, **settings)


@dataclass(frozen=True)
class InFile:
    """A table in a file, as it was understood.

    Attributes:
        name: of the task to be. source: name of the file. form: how it is written, in words.
    """

    name: str
    source: str
    form: str
    wishes: Wishes
    table: Described

    def write(self, root: Path | None) -> None:
        """Make it a task: a card and its values in the data root.

        Raises:
            UserError: the folder cannot be written, or has a table of this name.
        """
        by = {"group": self.wishes.group or "", "time": self.wishes.time or ""}
        write_table(data_root(root), self.name, self.table, source=self.source, **by)


def from_file(path: Path, wishes: Wishes, form: Form, name: str = "", root: Path | None = None) -> InFile:
    """A table in a file, as it is understood; nothing is written.

    Args:
        name: of the task to be; by default that of the file. root: the data root, which must have none of this name.

    Raises:
        UserError: whatever is wrong with the file, its columns or the name.
    """
    path = path_of(path, "PATH")
    name = checked_name(name or slug(path.name.partition(".")[0]))
    refuse_taken(data_root(root), name)
    frame, said = read_table(path, form)
    return InFile(name, path.name, said, wishes, described(name, frame, wishes))


def slug(text: str) -> str:
    """A text as a name."""
    return re.sub(r"[^\w.=+-]+", "-", text).strip("-._=+")[:LONGEST] or "table"


def checked_name(name: str) -> str:
    """A name for a table.

    Raises:
        UserError: it is taken, or makes no file name.
    """
    if not NAME.fullmatch(name):
        raise UserError(
            f"The --name {name!r} makes no file name: give letters, digits and . _ = + -, beginning with a letter or "
            f"digit, at most {LONGEST} in all."
        )
    taken = {known.casefold() for known in (*TASKS.names(), *TASKS.groups(), *cards.names(), "all", GROUP)}
    if name.casefold() in taken:
        raise UserError(f"The name {name!r} is that of a task, a group of tasks or a data set; give another --name.")
    return name


def own_tasks(root: Path | None) -> list[TableTask]:
    """The tables in the data root as tasks."""
    place = data_root(root).absolute()
    return [
        TableTask(
            card.name, card.kind, (GROUP,), tuple(card.splits),
            loader=InRoot(card.name, place, ",".join(card.files.values())),
        )
        for card in own_cards(place)
    ]  # fmt: skip


def all_tasks(root: Path | None) -> Registry[Task]:
    """The registered tasks, and the tables in the data root."""
    return TASKS.extended(own_tasks(root))
