"""One trained cell as a file of its own: identity, provenance, scores, and its predictive, thinned.

A cell that is read from a file is stored like one that was trained here.
"""

from __future__ import annotations

import io
import json
import math
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np

from bnnbench import names
from bnnbench.errors import UserError, told
from bnnbench.files import write_file
from bnnbench.records import CellRecord, EvaluationRecord, Outcome, Score, SessionRecord, Status
from bnnbench.store.store import ResultStore

COMPONENTS = 200  # of a mixture that are kept
DIGITS = 14  # binary, of means and scales: a thousandth of a posterior's spread, where that is a tenth of its mean
ATTEMPT = ("steps", "gradients", "compiled", "wall_s", "peak_memory_mb", "parameters")


def write_cell(store: ResultStore, fingerprint: str, evaluations: Sequence[str], path: Path) -> None:
    """Write a cell that has a stored predictive, with its scores of these evaluations.

    Raises:
        UserError: there is no such cell, or its predictive is missing or damaged.
        StorageError: the file cannot be written.
    """
    info = store.find(fingerprint)
    sessions: Any = store.sessions()
    session = sessions[sessions["id"] == info["session"]].iloc[0].to_dict()
    scores: Any = store.scores(fingerprint=fingerprint, evaluation=list(evaluations))
    about = {
        "cell": asdict(_record(info)),
        "session": {field.name: session[field.name] for field in fields(SessionRecord)},
        "attempt": {name: info[name] for name in ATTEMPT},
        "scores": [
            (name, int(own["n"].iloc[0]), [*zip(own["metric"], own["value"], _or_none(own["stderr"]), strict=True)])
            for name, own in scores.groupby("evaluation", sort=False)
        ],
    }
    stored = store.artifact(fingerprint, "predictive")
    arrays = {name: _thinned(name, array) for name, array in stored.items() if not name.endswith("log_normaliser")}
    arrays["about"] = np.frombuffer(json.dumps(about, default=_plain).encode(), np.uint8)
    buffer = io.BytesIO()
    np.savez_compressed(buffer, allow_pickle=False, **arrays)
    write_file(path, buffer.getvalue())


def identity(path: Path) -> CellRecord:
    """Which cell a file holds."""
    return CellRecord(**_about(path)["cell"])


def read_cell(path: Path) -> tuple[Outcome, SessionRecord]:
    """The cell in a file, and the session that trained it."""
    about = _about(path)
    outcome = Outcome(
        cell=CellRecord(**about["cell"]),
        status=Status.OK,
        evaluations=tuple(
            EvaluationRecord(name, n, tuple(Score(*score) for score in scores)) for name, n, scores in about["scores"]
        ),
        artifacts={"predictive": _arrays(path)},
        **about["attempt"],
    )
    return outcome, SessionRecord(**about["session"])


def _record(info: dict[str, Any]) -> CellRecord:
    """The identity of a cell that `find` has found."""
    rule, index = names.parse_split(info["split"])
    own = {
        name: info[name] for name in ("task", "task_version", "method", "method_version", "seed", "budget", "purpose")
    }
    return CellRecord(config=info["configuration"], label=info["config"], rule=rule, index=index, **own)


def _thinned(name: str, array: np.ndarray) -> np.ndarray:
    """At most `COMPONENTS` of the components, evenly spaced; log-probabilities in half precision, all else rounded to
    `DIGITS` binary digits, which compress well."""
    if name.endswith("/y"):
        return array
    kept = min(COMPONENTS, len(array))
    chosen = array[[(i + 1) * len(array) // kept - 1 for i in range(kept)]]
    if chosen.ndim == 3:
        return chosen.astype(np.float16)
    fraction, exponent = np.frexp(chosen)
    return np.ldexp(np.round(fraction * 2**DIGITS) / 2**DIGITS, exponent).astype(np.float32)


def _or_none(values: Any) -> list[float | None]:
    """Standard errors, None where there is none."""
    return [None if math.isnan(value) else value for value in values]


def _plain(value: Any) -> Any:
    """NumPy's numbers as Python's."""
    return value.item()


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    """A file's arrays.

    Raises:
        UserError: it cannot be read, or is damaged.
    """
    try:
        with path.open("rb") as raw, np.load(raw) as file:
            yield file
    except (OSError, ValueError, KeyError, EOFError, BadZipFile, zlib.error) as error:
        raise UserError(f"{path} cannot be read ({told(error)}); install bnnbench again.") from error


def _about(path: Path) -> dict[str, Any]:
    with _opened(path) as file:
        return json.loads(bytes(file["about"]))


def _arrays(path: Path) -> dict[str, np.ndarray]:
    """The mixture components, half precision made single."""
    with _opened(path) as file:
        arrays = {name: file[name] for name in file.files if name != "about"}
    return {name: a.astype(np.float32) if a.dtype == np.float16 else a for name, a in arrays.items()}
