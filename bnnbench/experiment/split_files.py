"""The splits of a task as arrays and as files, for programs that are no part of this suite."""

from __future__ import annotations

import io
import json
import shutil
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from bnnbench import names
from bnnbench.data.arrays import Data
from bnnbench.errors import UserError
from bnnbench.files import file_faults
from bnnbench.predictions.forms import FORMS, refuse_kind
from bnnbench.tasks import Task

FORMATS = ("npz", "csv")
ABOUT = "task.json"
ID, TARGET = "id", "target"


@dataclass(frozen=True)
class Part:
    """Rows of a split, in original units.

    Attributes:
        ids: numbers of the rows in the task's table, [N].
        x: inputs [N, d] or [N, C, H, W].
        y: targets [N], or class indices; None of test rows whose targets were not asked for.
    """

    ids: np.ndarray
    x: np.ndarray
    y: np.ndarray | None


@dataclass(frozen=True)
class SplitArrays:
    """One split: rows to fit, rows to choose hyperparameters by, rows to predict."""

    name: str
    train: Part
    validation: Part
    test: Part


def split_arrays(task: Task, rule: str, root: Path | None, *, test_targets: bool = False) -> Iterator[SplitArrays]:
    """The splits of a task under a rule.

    Raises:
        UserError: the task has no such rule, no targets, or its data are missing.
    """
    refuse_kind(task.name, task.kind)
    for index, split in enumerate(task.splits(rule, root)):
        data = task.encoded(rule, index, root)
        parts = {part: getattr(split, part) for part in (names.TRAIN, names.VALIDATION, names.TEST)}
        yield SplitArrays(
            names.split(rule, index),
            **{part: _part(data, rows, part != names.TEST or test_targets) for part, rows in parts.items()},
        )


def _part(data: Data, rows: np.ndarray, targets: bool) -> Part:
    return Part(np.asarray(rows, np.int64), data.x[rows], data.y[rows] if targets else None)


def write_splits(
    task: Task, rule: str, root: Path | None, out: Path, formats: Sequence[str], *, test_targets: bool = False
) -> list[Path]:
    """Write `task.json` and, for each split, a folder with its train, validation and test rows; all or nothing.

    Images are written as .npz alone.

    Raises:
        UserError: as `split_arrays`; an unknown format; a folder that holds something or cannot be written.
    """
    if unknown := [name for name in formats if name not in FORMATS] or ([] if formats else [""]):
        raise UserError(f"There is no format {unknown[0]!r} of splits; choose from {', '.join(FORMATS)}.")
    with file_faults("write", out):
        if out.exists() and not (out.is_dir() and not any(out.iterdir())):
            raise UserError(f"--out {out} holds something already; name a new folder.")
    refuse_kind(task.name, task.kind)
    flat = task.encoded(rule, 0, root).x.ndim == 2
    written = [name for name in formats if name == "npz" or flat] or ["npz"]
    draft = out.with_name(f".{out.name[:20]}.{uuid.uuid4().hex}")
    with file_faults("write", out):
        try:
            draft.mkdir(parents=True)
            about = _about(task, rule, root, test_targets)
            for index, split in enumerate(split_arrays(task, rule, root, test_targets=test_targets)):
                _write_split(draft / split.name, split, task.encoded(rule, index, root), written)
                about["splits"][split.name] = {
                    part: len(getattr(split, part).ids) for part in (names.TRAIN, names.VALIDATION, names.TEST)
                }
            (draft / ABOUT).write_text(json.dumps(about, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
            if out.exists():
                out.rmdir()
            draft.replace(out)
        finally:
            shutil.rmtree(draft, ignore_errors=True)
    return sorted(path for path in out.rglob("*") if path.is_file())


def _write_split(folder: Path, split: SplitArrays, data: Data, formats: Sequence[str]) -> None:
    folder.mkdir()
    for name in (names.TRAIN, names.VALIDATION, names.TEST):
        for ending in formats:
            (folder / f"{name}.{ending}").write_bytes(_ENCODED[ending](getattr(split, name), data))


def _npz(part: Part, data: Data) -> bytes:
    del data
    buffer = io.BytesIO()
    targets = {} if part.y is None else {"y": part.y}
    np.savez_compressed(buffer, allow_pickle=False, ids=part.ids, x=part.x, **targets)
    return buffer.getvalue()


def _csv(part: Part, data: Data) -> bytes:
    frame = pd.DataFrame(part.x, columns=_columns(data))
    frame.insert(0, ID, part.ids)
    if part.y is not None:
        frame[TARGET] = part.y
    return frame.to_csv(index=False, lineterminator="\n").encode()


_ENCODED = {"npz": _npz, "csv": _csv}


def _columns(data: Data) -> list[str]:
    """Names of the inputs; numbered where they have none, or such as would hide the ids or the target."""
    taken = {ID, TARGET} & set(data.features) or len(set(data.features)) < data.x.shape[1]
    return [f"x{j}" for j in range(data.x.shape[1])] if taken else list(data.features)


def _about(task: Task, rule: str, root: Path | None, test_targets: bool) -> dict[str, Any]:
    """What a program needs to know of the arrays."""
    data = task.encoded(rule, 0, root)
    return {
        "task": task.name,
        "version": task.versioned(root),
        "kind": task.kind,
        "target": data.target,
        "features": list(data.features),
        "classes": [label if isinstance(label, (str, int, float, bool)) else str(label) for label in data.classes],
        "units": "original; nothing is standardised, neither inputs nor targets",
        "split_rule": rule,
        "targets_of_test_rows": test_targets,
        "citation": task.citation,
        "notes": list(data.notes),
        "predictions": {
            "of": "the rows of test.npz or test.csv, with their ids, one file a split, named like the split's folder",
            "forms": [str(form) for form in FORMS if form.kind == task.kind],
        },
        "splits": {},
    }
