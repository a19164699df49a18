"""Trials as studies of Optuna, for its dashboard: one a method, data set and split."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from bnnbench.engine.cell import Cell
from bnnbench.errors import StorageError
from bnnbench.experiment.candidates import frozen_trials
from bnnbench.experiment.trials import finished_trials, place_of


def studies_beside(db: str | os.PathLike[str]) -> Path:
    """The file of the studies: `tune.optuna.db` beside `tune.db`, in the working directory beside a server."""
    path = Path(db)
    return path.with_name(f"{path.stem}.optuna.db") if "://" not in str(db) else Path("trials.optuna.db")


def write_studies(db: str | os.PathLike[str], cells: Sequence[Cell], path: Path) -> int:
    """Write the finished trials of these cells into a new file; returns how many studies there are.

    Raises:
        StorageError: the file cannot be written.
    """
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    trials, written = finished_trials(db, cells), 0
    try:
        path.unlink(missing_ok=True)
        storage = optuna.storages.RDBStorage(f"sqlite:///{path}")
        for cell in cells:
            if own := trials.get(place_of(cell, cell.budget.name)):
                told = [(type(cell.method)(**trial.settings), trial.score) for trial in own]
                record = cell.record
                name = f"{record.task} {record.method} {record.split} {record.budget}"
                study = optuna.create_study(storage=storage, study_name=name, direction="maximize")
                study.set_user_attr("value", "log-likelihood on the validation rows")
                study.add_trials(frozen_trials(cell.method.space(), told))
                written += 1
    except (OSError, optuna.exceptions.StorageInternalError) as error:
        raise StorageError(f"The studies cannot be written to {path} ({error}).") from error
    return written
