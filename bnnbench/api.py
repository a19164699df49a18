"""The Python API; the command line calls nothing else."""

from __future__ import annotations

import os
import shlex
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from rich.console import Console

from bnnbench.arguments import names_of, path_of, seconds_of, text_of, whole_of, wholes_of
from bnnbench.checks.compare import Verdict
from bnnbench.engine.cell import Cell
from bnnbench.engine.stored import StoredPosterior, from_arrays
from bnnbench.errors import UserError
from bnnbench.experiment.attempt import Settings
from bnnbench.experiment.definitions import definitions
from bnnbench.experiment.fidelity import add_fidelity
from bnnbench.experiment.outstanding import outstanding, read_outstanding
from bnnbench.experiment.plan import build_plan, configurations, parse_settings
from bnnbench.experiment.progress import RunProgress
from bnnbench.experiment.provenance import session_record
from bnnbench.experiment.rescore import add_lacking
from bnnbench.experiment.runner import Ended, all_packs, run_cells
from bnnbench.experiment.transfer import add_transfers
from bnnbench.methods import METHODS
from bnnbench.records import Status
from bnnbench.store.store import ResultStore
from bnnbench.tasks import TASKS
from bnnbench.tasks.budget import budget_of

DEFAULT_DB = "results.db"
MOST_SHOWN = 20  # reasons why cells failed


@dataclass(frozen=True)
class Summary:
    """What a run did.

    Attributes:
        cells: cells of the plan. missing: those that were not finished before.
        statuses: how many of those ended in which status.
        packs: (task, method, cells) of what was to be trained.
        warnings: what was left out and why cells failed, one sentence each.
        rescored: how often a stored posterior was scored on test sets that its cell lacked, transferred attacks apart.
    """

    cells: int
    missing: int
    statuses: Mapping[Status, int] = field(default_factory=dict)
    packs: tuple[tuple[str, str, int], ...] = ()
    warnings: tuple[str, ...] = ()
    rescored: int = 0

    @property
    def all_failed(self) -> bool:
        """Whether every cell that was to be trained failed."""
        return set(self.statuses) == {Status.FAILED}


def run(
    methods: str | Sequence[str] = "all",
    task: str | Sequence[str] = "all",
    *,
    splits: str | None = None,
    folds: str | Sequence[int] | None = None,
    budget: str = "quick",
    seeds: int = 1,
    settings: str | Iterable[str] = (),
    db: str | os.PathLike[str] = DEFAULT_DB,
    artifacts: str | os.PathLike[str] | None = None,
    data_dir: str | os.PathLike[str] | None = None,
    device: str = "auto",
    threads: int | None = None,
    timeout: float | None = None,
    exhaustive: bool = False,
    dry_run: bool = False,
    force: bool = False,
    quiet: bool = True,
) -> Summary:
    """Train and score methods on tasks; what is finished in the database is not trained again.

    Args:
        methods, task: names or groups, a list or one string with commas; `all` for everything practical.
        splits: split rule; None takes each task's default (`10fold` for the tables).
        folds: indices of the splits to run, a list or one string with commas; None for all.
        budget: `smoke`, `quick` or `full`.
        seeds: number of training seeds, 0 ... seeds - 1.
        settings: `method.param=value` strings; several values with commas make a grid.
        db: path of an SQLite file, or a database URL.
        artifacts: the folder of posteriors and other arrays, stored with the database the first time; None for the one
            that is stored, or `NAME.artifacts` beside an SQLite file or in the working directory.
        data_dir: the data root, see `bnnbench data list`.
        device: `auto`, `cpu` or `cuda`. threads: CPU threads, at most one for each core; None for all cores.
        timeout: seconds after which a pack is stopped and its cells stored as `timeout`.
        exhaustive: sweeps over rotated and attacked images take all test images and all samples.
        dry_run: plan only. force: train finished cells anew. quiet: no progress display.

    Raises:
        UserError: bad input, missing data, an unusable database; nothing is written then.

    >>> import bnnbench, tempfile
    >>> db = tempfile.mkdtemp() + "/results.db"
    >>> summary = bnnbench.run("constant", "diabetes", budget="smoke", db=db)
    >>> summary.cells, summary.missing
    (10, 10)
    >>> bnnbench.run("constant", "diabetes", budget="smoke", db=db).missing
    0
    """
    place = _device(device)
    _set_threads(threads)
    deadline = None if timeout is None else seconds_of(timeout, "--timeout")
    root = None if data_dir is None else path_of(data_dir, "--data-dir")
    rule = None if splits is None else text_of(splits, "--splits")
    grid = parse_settings(_settings(settings))
    chosen = names_of(methods, "--methods"), names_of(task, "--task")
    numbers = None if folds is None else wholes_of(folds, "--folds")
    granted = budget_of(text_of(budget, "--budget"))
    cells, warnings = build_plan(*chosen, rule, granted, seeds, grid, root, numbers, exhaustive)
    records = {cell: cell.record for cell in cells}
    work = read_outstanding(db, records, force, dry_run, artifacts)
    if dry_run:
        missing = cells if work is None else work.missing
        return _summary(cells, warnings, missing, place)
    if work is not None and not work.writes:
        return Summary(len(cells), 0, warnings=(*warnings, *work.warnings))
    with ResultStore(db, artifacts=artifacts) as store:
        work = work or outstanding(store, records, force)
        store.register(*definitions(cells))
        packs, again = len(all_packs(work.missing, place)), len(work.lacking)
        silent = quiet or not (work.missing or work.lacking)
        command = shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]]).encode(errors="backslashreplace").decode()
        with RunProgress(Console(stderr=True), packs + again, work.updates + again, silent) as progress:
            rescored, faults = add_lacking(store, work.lacking, place, progress)
            ended, failing = run_cells(
                store,
                cells,
                work.missing,
                lambda: store.start_session(session_record(place, command)),
                Settings(place, deadline, force, store.checkpoints),
                progress,
            )
            transferred, more = add_transfers(store, records, place, progress)
        add_fidelity(store, {cell.task.name for cell in cells})
    said = (*warnings, *work.warnings, *dict.fromkeys(faults + failing + more), *_failures(ended))
    statuses = Counter(end.status for end in ended.elements())
    return Summary(len(cells), len(work.missing), statuses, warnings=said, rescored=rescored + transferred)


def check(method: str, settings: str | Iterable[str] = (), threads: int | None = None) -> Iterator[Verdict]:
    """Put a method on problems with known answers; one verdict after the other.

    Args:
        method: its name, also of a method of your own that is installed.
        settings: `method.param=value` strings.
        threads: CPU threads, None for all cores.

    Raises:
        UserError: no such method or parameter, or a method without regression.

    >>> import bnnbench
    >>> [verdict.passed for verdict in bnnbench.check("constant")]
    [None, None, None, None, None, None, None, True]
    """
    from bnnbench.checks.checks import checks

    _set_threads(threads)
    cls, grid = METHODS.get(text_of(method, "METHOD")), parse_settings(_settings(settings))
    if others := sorted(set(grid) - {cls.name}):
        raise UserError(f"--set names {others[0]!r}, and the method to be checked is {cls.name!r}.")
    values = grid.get(cls.name, {})
    if any(len(several) > 1 for several in values.values()):
        raise UserError("bnnbench check takes one value a parameter, no grid.")
    (configured,) = configurations(cls, values)
    if "regression" not in cls.supports:
        raise UserError(f"The checks are regressions, which {cls.name!r} does not support.")
    return checks(configured)


def load(db: str | os.PathLike[str], cell: str) -> StoredPosterior:
    """A trained posterior that predicts arrays.

    Args:
        db: the database it was recorded in, its artifacts beside it.
        cell: fingerprint of the cell, or a unique beginning of it (`bnnbench show`, or `scores(db).fingerprint`).

    Raises:
        UserError: no such database, cell or stored posterior.

    >>> import bnnbench, tempfile
    >>> db = tempfile.mkdtemp() + "/results.db"
    >>> _ = bnnbench.run("map", "diabetes", budget="smoke", db=db)
    >>> posterior = bnnbench.load(db, bnnbench.scores(db).fingerprint[0])
    >>> sorted(posterior.predict([[0.0] * 10, [0.05] * 10]))
    ['aleatoric_std', 'epistemic_std', 'mean', 'total_std']
    """
    with ResultStore(db, read_only=True) as store:
        found = store.find(text_of(cell, "The cell"))
        return from_arrays(found, store.artifact(found["fingerprint"], "posterior"))


def scores(db: str | os.PathLike[str] = DEFAULT_DB, **filters: Any) -> pd.DataFrame:
    """All scores as a tidy table, one row per (cell, evaluation, metric); filters are column=value.

    >>> import bnnbench, tempfile
    >>> db = tempfile.mkdtemp() + "/results.db"
    >>> _ = bnnbench.run("constant", "diabetes", budget="smoke", db=db)
    >>> table = bnnbench.scores(db, evaluation="test", metric="rmse")
    >>> list(table.columns[:11]), len(table)  # doctest: +NORMALIZE_WHITESPACE
    (['task', 'method', 'config', 'split', 'seed', 'budget', 'evaluation', 'metric', 'value', 'stderr', 'status'], 10)
    """
    with ResultStore(db, read_only=True) as store:
        return store.scores(**filters)


def report(
    db: str | os.PathLike[str] = DEFAULT_DB,
    out: str | os.PathLike[str] = "reports",
    *,
    task: str | Sequence[str] | None = None,
    methods: str | Sequence[str] | None = None,
    budget: str | None = None,
    formats: Sequence[str] = ("md", "csv", "latex"),
) -> list[Path]:
    """Write the comparison tables and figures of a database into a folder; returns the files written.

    Results of methods and tasks that are installed here in a newer version are shown and marked as superseded.
    """
    from bnnbench.reporting.build import build
    from bnnbench.reporting.output import WRITTEN

    installed = {
        "method": {method.name: method.version for method in METHODS},
        "task": {known.name: known.version for known in TASKS},
    }
    folder = path_of(out, "--out")
    with ResultStore(db, read_only=True) as store:
        for name in WRITTEN:
            store.refuse_output(folder / name)
        return build(
            store,
            folder,
            None if task is None else names_of(task, "--task"),
            None if methods is None else names_of(methods, "--methods"),
            None if budget is None else text_of(budget, "--budget"),
            names_of(formats, "--format"),
            installed,
        )


def _settings(settings: str | Iterable[str]) -> list[str]:
    texts = [settings] if isinstance(settings, str) else settings
    if isinstance(texts, (bytes, dict)) or not isinstance(texts, Iterable):
        raise UserError(f"--set takes strings method.param=value, not {settings!r}.")
    return [text_of(text, "--set") for text in texts]


def _failures(ended: Counter[Ended]) -> list[str]:
    """Why cells failed, one sentence for each reason."""
    failed = [(end, n) for end, n in ended.items() if end.status is Status.FAILED]
    sentences = [
        f"{end.task} {end.method}: {n} cell{'s' if n > 1 else ''} failed: {' '.join(end.message.split())}"
        for end, n in failed[:MOST_SHOWN]
    ]
    more = len(failed) - MOST_SHOWN
    return [*sentences, f"{more} more reasons why cells failed are in the database."] if more > 0 else sentences


def _summary(cells: Sequence[Cell], warnings: Sequence[str], missing: Sequence[Cell], device: torch.device) -> Summary:
    packs = tuple((pack[0].task.name, pack[0].method.name, len(pack)) for pack in all_packs(missing, device))
    return Summary(len(cells), len(missing), packs=packs, warnings=tuple(warnings))


def _device(name: str) -> torch.device:
    if (name := text_of(name, "--device")) not in {"auto", "cpu", "cuda"}:
        raise UserError(f"--device must be auto, cpu or cuda, not {name!r}.")
    if name == "cuda" and not torch.cuda.is_available():
        raise UserError("--device cuda was asked for and no CUDA device is available; use --device cpu or auto.")
    return torch.device("cuda" if name != "cpu" and torch.cuda.is_available() else "cpu")


def _set_threads(threads: int | None) -> None:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    torch.set_num_threads(
        cores if threads is None else whole_of(threads, "--threads", cores, ", the cores that this process may use")
    )
    # Numbers below 1e-38 count as 0. A prior draws the weights of dead units there, and Intel's cores are some hundred
    # times slower with them. Threads take this over from the one that starts them, so it comes before all work.
    torch.set_flush_denormal(True)
