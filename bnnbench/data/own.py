"""Tables of a user's own in the data root: a card, and the values that it describes, checked whenever they are read.

`own/NAME/card.toml` says what each column is, `own/NAME/table.npz` holds numbers alone: inputs as `data.encoding` holds
them, the target or the places of its labels, and of groups and times their places in order.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import tomllib
import uuid
import zipfile
from dataclasses import dataclass, fields
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np

from bnnbench.data.arrays import Data
from bnnbench.data.cards import Card
from bnnbench.data.encoding import Column, column_from_json, column_to_json
from bnnbench.data.files import State, read, verify
from bnnbench.data.guessing import Described
from bnnbench.data.splits import splits
from bnnbench.errors import UserError
from bnnbench.files import file_faults, write_file
from bnnbench.registry import nearest, warn

FOLDER, CARD, TABLE = "own", "card.toml", "table.npz"
ELSEWHERE = "choose another folder with --data-dir or $BNNBENCH_DATA"


@dataclass(frozen=True)
class TableCard(Card):
    """The card of a table of one's own.

    Attributes:
        kind: `regression` or `classification`.
        inputs: what the columns hold. classes: the labels of a classification, in order.
        group, time: names of the columns by which the rows are split, else empty.
    """

    kind: str = "regression"
    inputs: tuple[Column, ...] = ()
    classes: tuple[Any, ...] = ()
    group: str = ""
    time: str = ""

    @property
    def if_missing(self) -> str:
        return f"remove the table by `bnnbench data remove {self.name}` and add it again"

    @property
    def if_altered(self) -> str:
        return self.if_missing


def write_table(root: Path, name: str, table: Described, *, source: str, group: str = "", time: str = "") -> None:
    """Write a table into the data root, whole or not at all.

    Args:
        source: name of the file that it comes from. group, time: names of columns.

    Raises:
        UserError: a table of this name is there, or the folder cannot be written.
    """
    refuse_taken(root, name)
    place = root / FOLDER / name
    content = _values(table.data)
    card = _toml(
        title=name, description=f"A table of one's own, from {source}.", source=source, licence="unknown", citation="",
        target=table.data.target, rows=len(table.data.y), kind=table.kind, group=group, time=time,
        classes=list(table.data.classes), issues=list(table.data.notes),
        splits={rule: len(splits(name, table.data, rule)) for rule in table.rules},
        files={TABLE: hashlib.sha256(content).hexdigest()},
        inputs=[column_to_json(column) for column in table.data.columns],
    )  # fmt: skip
    draft = place.with_name(f".{uuid.uuid4().hex}")
    try:
        write_file(draft / TABLE, content, ELSEWHERE)
        write_file(draft / CARD, card.encode(), ELSEWHERE)
        with file_faults("write", place, ELSEWHERE):
            draft.rename(place)
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def remove_table(root: Path, name: str) -> None:
    """Remove a table from the data root; results in databases stay.

    Raises:
        UserError: there is none of this name, or it cannot be removed.
    """
    if name not in own_names(root):
        others = own_names(root)
        hint = nearest(name, others) if others else "; there is none at all."
        raise UserError(f"There is no table {name!r} in {root / FOLDER}{hint}")
    place, gone = root / FOLDER / name, root / FOLDER / f".{uuid.uuid4().hex}"
    with file_faults("remove", place, ELSEWHERE):
        place.rename(gone)
        shutil.rmtree(gone)


def own_names(root: Path) -> list[str]:
    """Names of the tables in the data root, in order."""
    try:
        return sorted(path.parent.name for path in (root / FOLDER).glob(f"[!.]*/{CARD}"))
    except PermissionError:  # of a root that may not be read nothing is known, and most tasks need none
        return []


def own_cards(root: Path) -> list[TableCard]:
    """The cards of all tables in the data root; one that cannot be read is left out with a warning."""
    found = []
    for name in own_names(root):
        try:
            found.append(own_card(name, root))
        except UserError as error:
            warn(str(error))
    return found


def own_states(root: Path) -> list[State]:
    """Check the file of every table in the data root against its card."""
    found = {name: State(name, "corrupt", 1, (CARD,), str(root / FOLDER / name)) for name in own_names(root)}
    states = verify(root, tuple(own_cards(root)))
    return list({**found, **{state.name: state for state in states}}.values())


def own_card(name: str, root: Path) -> TableCard:
    """The card of a table.

    Raises:
        UserError: it cannot be read.
    """
    path = root / FOLDER / name / CARD
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
        inputs = tuple(column_from_json(**column) for column in content.pop("inputs"))
        content |= {key: tuple(content.get(key, ())) for key in ("issues", "classes")}
        known = {field.name for field in fields(TableCard)}
        if not set(content) <= known:
            raise TypeError(f"{min(set(content) - known)!r} is no entry of a card")
        place, names = f"{FOLDER}/{name}", tuple(column.name for column in inputs)
        return TableCard(name=name, inputs=inputs, columns=names, folder=place, origin="own", **content)
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        remedy = f"repair it, or remove the table by `bnnbench data remove {name}` and add it again"
        raise UserError(f"The data card {path} cannot be read ({type(error).__name__}: {error}); {remedy}.") from error


def own_data(card: TableCard, root: Path) -> Data:
    """The table of a card.

    Raises:
        UserError: its file is missing or altered, or the card is not that of the file.
    """
    try:
        with np.load(BytesIO(read(card, root, TABLE)), allow_pickle=False) as found:
            values = {name: found[name] for name in found.files}
        x, y = values.pop("x"), values.pop("y")
        if x.shape != (card.rows, len(card.inputs)) or len(y) != card.rows:
            raise ValueError(f"it has {x.shape[0]} rows and {x.shape[1]} inputs")
        y = np.asarray(card.classes)[y] if card.classes else y
        return Data.of_columns(card.inputs, x, y, classes=card.classes, target=card.target, notes=card.issues, **values)
    except (ValueError, KeyError, IndexError, zipfile.BadZipFile) as error:
        raise UserError(f"The table {card.name!r} is not what its card says ({error}); {card.if_altered}.") from error


def refuse_taken(root: Path, name: str) -> None:
    """Check that no table has a name, on file systems for which small and large letters are the same, too.

    Raises:
        UserError: one has.
    """
    for known in own_names(root):
        if known.casefold() == name.casefold():
            raise UserError(
                f"There is a table {known!r} already; take another --name, or `bnnbench data remove {known}`."
            )


def _values(data: Data) -> bytes:
    """The arrays of a table as a file."""
    file, beside = BytesIO(), {"group": data.group, "time": data.time}
    np.savez_compressed(file, x=data.x, y=data.y, **{k: v for k, v in beside.items() if v is not None})  # type: ignore[arg-type]
    return file.getvalue()


def _toml(*, inputs: list[dict[str, Any]], **content: Any) -> str:
    """A card as text: strings, numbers and lists of JSON are those of TOML."""
    plain = [f"{key} = {_json(value)}" for key, value in content.items() if not isinstance(value, dict)]
    tables = [(f"[{key}]", value) for key, value in content.items() if isinstance(value, dict)]
    tables += [("[[inputs]]", column) for column in inputs]
    parts = [
        plain,
        *([head, *(f"{_json(key)} = {_json(value)}" for key, value in own.items())] for head, own in tables),
    ]
    return "\n\n".join("\n".join(part) for part in parts) + "\n"


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
