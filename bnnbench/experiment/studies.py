"""Trials as studies of Optuna, for its dashboard: one a method, data set and split."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from bnnbench.engine.cell import Cell
from bnnbench.errors import StorageError
from bnnbench.experiment.candidates import frozen_trials
from bnnbench.experiment.trials import Setup, place_of, read_trials
from bnnbench.methods.space import Space
from bnnbench.store.address import Address


def studies_beside(db: str | os.PathLike[str]) -> Path:
    """The file of the studies: `tune.optuna.db` beside `tune.db`, in the working directory for a server's database."""
    address = Address.parse(db)
    folder = Path() if address.path is None else address.path.parent
    return folder / f"{address.name}.optuna.db"


def write_studies(db: str | os.PathLike[str], tuned: Sequence[tuple[Cell, Setup, Space]], path: Path) -> int:
    """Write the trials of these cells, each with what is tuned of it, into a new file; returns how many studies there
    are.

    Raises:
        StorageError: the file cannot be written.
    """
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    trials, written = read_trials(db, [cell for cell, *_ in tuned]), 0
    try:
        path.unlink(missing_ok=True)
        storage = optuna.storages.RDBStorage(f"sqlite:///{path}")
        for cell, setup, space in tuned:
            if own := trials.get((place_of(cell, cell.budget.name), setup)):
                told = [(type(cell.method)(**trial.settings), trial.score) for trial in own]
                record = cell.record
                name = f"{record.task} {record.method} {record.split} {record.budget}"
                study = optuna.create_study(storage=storage, study_name=name, direction="maximize")
                study.set_user_attr("value", "log-likelihood on the validation rows")
                study.add_trials(frozen_trials(space, told))
                written += 1
    except (OSError, optuna.exceptions.StorageInternalError) as error:
        raise StorageError(f"The studies cannot be written to {path} ({error}).") from error
    return written
