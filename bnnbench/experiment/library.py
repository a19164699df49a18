"""The library of certified posteriors: predictives of Hamiltonian Monte Carlo that come with the package.

A file holds one cell as the database knows it: identity, provenance, scores with the certificate, and mixture
components at the test rows, thinned. A run of any method on the same split brings the cell into its database, where it
is compared with as if it had been run there.
"""

from __future__ import annotations

import io
import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

import bnnbench
from bnnbench import names
from bnnbench.engine.cell import Cell, default
from bnnbench.errors import UserError
from bnnbench.experiment.definitions import definitions
from bnnbench.experiment.fidelity import GOLD_STANDARD
from bnnbench.files import write_file
from bnnbench.methods import METHODS
from bnnbench.records import CellRecord, EvaluationRecord, Outcome, Score, SessionRecord, Status
from bnnbench.store.store import ResultStore

FOLDER = Path(bnnbench.__file__).resolve().parent / "posteriors"
COMPONENTS = 200  # of a mixture that are kept
EVALUATIONS = (names.TEST, names.GRID, names.SAMPLER, names.CERTIFICATE, names.FIDELITY, names.FIDELITY_GRID)
ATTEMPT = ("steps", "gradients", "compiled", "wall_s", "peak_memory_mb", "parameters")


@dataclass(frozen=True)
class Shipped:
    """A cell that comes with the package and is lacking in a database."""

    cell: Cell
    path: Path

    def __str__(self) -> str:
        return f"{self.cell.task.name} {self.cell.record.split}: the certified posterior that comes with bnnbench"


def shipped_missing(store: ResultStore, cells: Sequence[Cell]) -> list[Shipped]:
    """Certified posteriors of the splits of these cells that the database lacks.

    One of another version of its task or method is not the posterior of these cells and is left alone.
    """
    found = {}
    for cell in cells:
        path = FOLDER / f"{cell.task.name}.npz"
        if path.is_file():
            gold = replace(cell, method=default(METHODS.get(GOLD_STANDARD), cell.task), seed=0)
            gold = replace(gold, budget=cell.task.budget("full"), test_sets=())
            if _about(path)["cell"] == asdict(gold.record):
                found[gold.record.fingerprint] = Shipped(gold, path)
    done = store.evaluated(list(found))
    return [piece for fingerprint, piece in found.items() if fingerprint not in done]


def bring(store: ResultStore, piece: Shipped, device: torch.device) -> tuple[int, list[str]]:
    """Store the cell, as a run of its own with the provenance that came with it."""
    del device
    about, arrays = _about(piece.path), _arrays(piece.path)
    store.register(*definitions([piece.cell]))
    session = store.start_session(SessionRecord(**about["session"]))
    outcome = Outcome(
        cell=piece.cell.record,
        status=Status.OK,
        evaluations=tuple(
            EvaluationRecord(name, n, tuple(Score(*score) for score in scores)) for name, n, scores in about["scores"]
        ),
        artifacts={"predictive": arrays},
        **about["attempt"],
    )
    return store.record(session, [outcome]), []


def export_certified(store: ResultStore, folder: Path) -> list[Path]:
    """Write the certified cells of the gold standard into a folder, one file a task.

    Raises:
        UserError: the database has none.
    """
    attempts: Any = store.attempts(method=GOLD_STANDARD, config="default", budget="full", status=Status.OK.value)
    certified = attempts[attempts["task"].map(lambda task: task.startswith(names.FIDELITY))]
    if certified.empty:
        raise UserError(
            f"{store.address} holds no certified run of {GOLD_STANDARD}; make one by bnnbench run --methods "
            f"{GOLD_STANDARD} --task fidelity --budget full."
        )
    written = []
    for row in certified.sort_values("seed").drop_duplicates("task").itertuples():
        path = folder / f"{row.task}.npz"
        write_file(path, _content(store, row.fingerprint))
        written.append(path)
    return written


def _content(store: ResultStore, fingerprint: str) -> bytes:
    """The bytes of the file of one cell."""
    info = store.find(fingerprint)
    sessions: Any = store.sessions()
    session = sessions[sessions["id"] == info["session"]].iloc[0].to_dict()
    rule, index = names.parse_split(info["split"])
    cell = {"config": info["configuration"], "label": info["config"], "rule": rule, "index": index}
    cell |= {name: info[name] for name in ("task", "task_version", "method", "method_version", "seed", "budget")}
    scores: Any = store.scores(fingerprint=fingerprint, evaluation=list(EVALUATIONS))
    kept = [
        (name, int(group["n"].iloc[0]), [*zip(group["metric"], group["value"], _or_none(group["stderr"]), strict=True)])
        for name, group in scores.groupby("evaluation", sort=False)
    ]
    about = {
        "cell": asdict(CellRecord(**cell)),
        "session": {field.name: session[field.name] for field in fields(SessionRecord)},
        "attempt": {name: info[name] for name in ATTEMPT},
        "scores": kept,
    }
    stored = store.artifact(fingerprint, "predictive")
    arrays = {name: _thinned(name, array) for name, array in stored.items() if not name.endswith("log_normaliser")}
    arrays["about"] = np.frombuffer(json.dumps(about, default=_plain).encode(), np.uint8)
    buffer = io.BytesIO()
    np.savez_compressed(buffer, allow_pickle=False, **arrays)
    return buffer.getvalue()


def _thinned(name: str, array: np.ndarray) -> np.ndarray:
    """At most `COMPONENTS` of the components, evenly spaced, in half precision where they are log-probabilities."""
    if name.endswith("/y"):
        return array
    kept = min(COMPONENTS, len(array))
    chosen = array[[(i + 1) * len(array) // kept - 1 for i in range(kept)]]
    return chosen.astype(np.float16 if chosen.ndim == 3 else np.float32)


def _or_none(values: Any) -> list[float | None]:
    """Standard errors, None where there is none."""
    return [None if math.isnan(value) else value for value in values]


def _plain(value: Any) -> Any:
    """NumPy's numbers as Python's."""
    return value.item()


def _about(path: Path) -> dict[str, Any]:
    with np.load(path) as file:
        return json.loads(bytes(file["about"]))


def _arrays(path: Path) -> dict[str, np.ndarray]:
    with np.load(path) as file:
        return {
            name: file[name].astype(np.float32) if file[name].dtype == np.float16 else file[name]
            for name in file.files
            if name != "about"
        }
