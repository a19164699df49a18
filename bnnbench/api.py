"""The Python API; the command line calls nothing else."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from bnnbench.arguments import entries_of, names_of, path_of, seconds_of, text_of, whole_of, wholes_of
from bnnbench.engine.stored import StoredPosterior, from_arrays
from bnnbench.experiment.machine import device_of
from bnnbench.experiment.renamed import renamed, without_rule
from bnnbench.experiment.request import Request, parse_overrides
from bnnbench.experiment.run import Summary, run_request
from bnnbench.experiment.selection import method_to_check
from bnnbench.experiment.threads import jobs_of, large_threads
from bnnbench.experiment.threads import threads as computing_with
from bnnbench.methods import METHODS, Method
from bnnbench.store.forget import Forgotten
from bnnbench.store.forget import forget as forget_in
from bnnbench.store.store import ResultStore
from bnnbench.tasks import Task
from bnnbench.tasks.budget import budget_of
from bnnbench.tasks.own import all_tasks

if TYPE_CHECKING:
    from bnnbench.checks.compare import Verdict

DEFAULT_DB = "results.db"
MOST_JOBS = 64


def run(
    methods: str | Method | Sequence[str | Method] = "all",
    tasks: str | Task | Sequence[str | Task] = "all",
    *,
    split_rule: str | None = None,
    splits: str | Sequence[int] | None = None,
    test_sets: str | Sequence[str] = (),
    calibrate: str | Sequence[str] = (),
    budget: str = "quick",
    seeds: int = 1,
    settings: str | Iterable[str] = (),
    db: str | os.PathLike[str] = DEFAULT_DB,
    artifacts: str | os.PathLike[str] | None = None,
    data_dir: str | os.PathLike[str] | None = None,
    device: str = "auto",
    jobs: int | None = None,
    threads: int | None = None,
    timeout: float | None = None,
    exhaustive: bool = False,
    dry_run: bool = False,
    force: bool = False,
    quiet: bool = True,
    task: str | Sequence[str] | None = None,
    folds: str | Sequence[int] | None = None,
) -> Summary:
    """Train and score methods on tasks; what is finished in the database is not trained again.

    Args:
        methods, tasks: names or groups, a list or one string with commas; `all` for everything practical, also beside
            names. Or objects, registered or not: a method with its own configuration, a task. To load what an object
            has trained, in another process, its class (or the task) must be registered there.
        split_rule: split rule; None takes each task's default (`10fold` for the tables).
        splits: indices of the splits to run, a list or one string with commas; None for all.
        test_sets: families of further test sets of the tasks that have them, `rotation` or `fgsm`; names or groups,
            `all` for all but the optional ones.
        calibrate: calibrations after training, `temperature` and `conformal`, or `all`: fitted on the validation rows,
            scored on the test rows as evaluations of their own, `test-temperature` and `test-conformal`.
        budget: `smoke`, `quick`, `full` or `long`.
        seeds: number of training seeds, 0 ... seeds - 1.
        settings: `method.param=value` strings; several values with commas make a grid.
        db: path of an SQLite file, or a database URL.
        artifacts: the folder of posteriors and other arrays, stored with the database the first time; None for the one
            that is stored, or `NAME.artifacts` beside an SQLite file or in the working directory.
        data_dir: the data root, see `bnnbench data list`.
        device: `auto`, `cpu` or `cuda`.
        jobs: processes that train at once; 1 for this one alone. None for one a core, or one in all on a GPU and
            where there is little to do. No number depends on it, and nothing needs `if __name__ == "__main__":`;
            methods and tasks of classes that other processes cannot import, as those of a notebook, are trained here.
        threads: CPU threads of a large network, at most one for each core; None for 2. The last digits of its numbers
            depend on it. A small network always has one.
        timeout: seconds after which a pack is stopped and its cells stored as `timeout`.
        exhaustive: sweeps over rotated and attacked images take all test images and all samples.
        dry_run: plan only. force: train finished cells again. quiet: no progress display.
        task, folds: former names of `tasks` and `splits`.

    Raises:
        UserError: bad input, missing data, an unusable database; nothing is written then.

    Examples:
        >>> import bnnbench, tempfile
        >>> from bnnbench.methods.map import MAP
        >>> db = tempfile.mkdtemp() + "/results.db"
        >>> summary = bnnbench.run("constant", "diabetes", budget="smoke", db=db)
        >>> summary.cells, summary.missing
        (10, 10)
        >>> bnnbench.run(["constant", MAP(lr=0.1)], "diabetes", budget="smoke", db=db).missing
        10
    """
    tasks = renamed("tasks=", tasks, "all", "task=", task)
    splits, split_rule = without_rule(splits, split_rule)
    splits = renamed("--splits", splits, None, "--folds", folds)
    place = device_of(device)
    jobs, threads = jobs_of(jobs), large_threads(threads)
    request = Request(
        methods=entries_of(methods, "--methods", Method),
        tasks=entries_of(tasks, "--task", Task),
        budget=budget_of(text_of(budget, "--budget")),
        test_sets=names_of(test_sets, "--test-sets"),
        calibrations=names_of(calibrate, "--calibrate"),
        split_rule=None if split_rule is None else text_of(split_rule, "--split-rule"),
        splits=None if splits is None else wholes_of(splits, "--splits"),
        seeds=seeds,
        settings=parse_overrides(settings),
        root=None if data_dir is None else path_of(data_dir, "--data-dir"),
        exhaustive=exhaustive,
    )
    deadline = None if timeout is None else seconds_of(timeout, "--timeout")
    return run_request(
        request,
        db,
        artifacts,
        place,
        jobs=jobs,
        large_threads=threads,
        timeout=deadline,
        dry_run=dry_run,
        force=force,
        quiet=quiet,
    )


def check(method: str | Method, settings: str | Iterable[str] = (), threads: int | None = None) -> Iterator[Verdict]:
    """Put a method on problems with known answers; one verdict after the other.

    Args:
        method: its name, or a configured object, registered or not.
        settings: `method.param=value` strings, of a method that is named.
        threads: CPU threads, None for one: the networks are small.

    Raises:
        UserError: no such method or parameter, or a method without regression.

    Examples:
        >>> import bnnbench
        >>> [verdict.passed for verdict in bnnbench.check("constant")]
        [None, None, None, None, None, None, None, None, True]
    """
    from bnnbench.checks.checks import checks

    number = 1 if threads is None else large_threads(threads)
    found = method_to_check(method, parse_overrides(settings))

    def verdicts() -> Iterator[Verdict]:
        with computing_with(number):
            yield from checks(found)

    return verdicts()


def load(db: str | os.PathLike[str], cell: str) -> StoredPosterior:
    """A trained posterior that predicts arrays.

    Args:
        db: the database it was recorded in, its artifacts beside it.
        cell: fingerprint of the cell, or a unique beginning of it (`bnnbench show`, or `scores(db).fingerprint`).

    Raises:
        UserError: no such database, cell or stored posterior.

    Examples:
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

    Examples:
        >>> import bnnbench, tempfile
        >>> db = tempfile.mkdtemp() + "/results.db"
        >>> _ = bnnbench.run("constant", "diabetes", budget="smoke", db=db)
        >>> table = bnnbench.scores(db, evaluation="test", metric="rmse")
        >>> list(table.columns[:11]), len(table)  # doctest: +NORMALIZE_WHITESPACE
        (['task', 'method', 'config', 'split', 'seed', 'budget', 'evaluation', 'metric', 'value', 'stderr',
         'status'], 10)
    """
    with ResultStore(db, read_only=True) as store:
        return store.scores(**filters)


def report(
    db: str | os.PathLike[str] = DEFAULT_DB,
    out: str | os.PathLike[str] = "reports",
    *,
    tasks: str | Sequence[str] | None = None,
    methods: str | Sequence[str] | None = None,
    budget: str | None = None,
    formats: str | Sequence[str] = ("md", "csv", "latex"),
    figures: str | Sequence[str] = ("svg",),
    jobs: int | None = 1,
    task: str | Sequence[str] | None = None,
) -> list[Path]:
    """Write the comparison tables and figures of a database into a folder; returns the files written.

    Results of methods and tasks that are installed here in a newer version are shown and marked as superseded.

    Args:
        db: the database. out: the folder.
        tasks, methods: names to keep, a list or one string with commas (of tasks: groups too); None keeps everything.
        budget: one budget; None takes for each section the largest that it has.
        formats: of `md` (the page with its figures), `csv` and `latex`.
        figures: formats of the figures, of `svg`, `png` and `pdf`; the page shows the first. `none`: no figures.
        jobs: processes that draw figures, None for one a core. With several, a script needs the usual
            `if __name__ == "__main__":`, for each process imports it.
        task: former name of `tasks`.

    Raises:
        UserError: bad input, an unusable database or folder; nothing is written then.
    """
    from bnnbench.reporting.build import build
    from bnnbench.reporting.output import WRITTEN

    tasks = renamed("tasks=", tasks, None, "task=", task)
    installed = {
        "method": {method.name: method.version for method in METHODS},
        "task": {known.name: known.version for known in all_tasks(None)},
    }
    folder = path_of(out, "--out")
    with ResultStore(db, read_only=True) as store:
        for name in WRITTEN:
            store.refuse_output(folder / name)
        return build(
            store,
            folder,
            None if tasks is None else names_of(tasks, "--task"),
            None if methods is None else names_of(methods, "--methods"),
            None if budget is None else text_of(budget, "--budget"),
            names_of(formats, "--format"),
            installed,
            figures=names_of(figures, "--figures"),
            processes=None if jobs is None else whole_of(jobs, "--jobs", MOST_JOBS),
        )


def forget(
    db: str | os.PathLike[str] = DEFAULT_DB,
    *,
    superseded: bool = False,
    artifacts: bool = False,
    dry_run: bool = False,
) -> Forgotten:
    """Drop from a database what newer versions supersede, or stored arrays; an SQLite file shrinks.

    Args:
        db: the database; its artifacts are looked for where they are stored.
        superseded: cells of versions of their task or method that are not the ones registered last, and those of
            defaults that have changed since, with all that was stored of them: no table, figure or export shows them.
        artifacts: posteriors and predictive samples of all cells; scores and plot data stay.
        dry_run: only say what would go.

    Raises:
        UserError: nothing is asked for; a living process is training what is to go; something cannot be written. Then
            no cell is forgotten, or all are, and a further call removes the files that are left.

    Examples:
        >>> import bnnbench, tempfile
        >>> db = tempfile.mkdtemp() + "/results.db"
        >>> _ = bnnbench.run("constant", "diabetes", splits=[0], budget="smoke", db=db)
        >>> str(bnnbench.forget(db, superseded=True)).partition(" in ")[0]
        'There is nothing to forget'
        >>> bnnbench.forget(db, artifacts=True).artifacts
        2
    """
    return forget_in(db, superseded=superseded, artifacts=artifacts, dry_run=dry_run)
