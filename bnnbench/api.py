"""The Python API; the command line calls nothing else."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from bnnbench.arguments import (
    entries_of,
    file_of,
    names_of,
    path_of,
    rows_of,
    text_of,
    whole_of,
    wholes_of,
)
from bnnbench.engine.stored import StoredPosterior, from_arrays
from bnnbench.errors import UserError
from bnnbench.experiment import scoring, split_files
from bnnbench.experiment.candidates import AT_ONCE
from bnnbench.experiment.executors import executor_of
from bnnbench.experiment.external import Declared, Scored, from_files, score_external
from bnnbench.experiment.installed import installed, splits_of
from bnnbench.experiment.machine import device_of
from bnnbench.experiment.renamed import renamed, without_rule
from bnnbench.experiment.request import Request, parse_overrides
from bnnbench.experiment.rescoring import Rescored, rescore_stored
from bnnbench.experiment.resources import Resources
from bnnbench.experiment.run import Summary, run_request
from bnnbench.experiment.selection import method_to_check
from bnnbench.experiment.threads import large_threads
from bnnbench.experiment.threads import threads as computing_with
from bnnbench.experiment.tune import tune_request
from bnnbench.methods import METHODS, Inference
from bnnbench.names import TEST
from bnnbench.store.forget import Forgotten
from bnnbench.store.forget import forget as forget_in
from bnnbench.store.merge import Merged
from bnnbench.store.merge import merge as merge_into
from bnnbench.store.source import Source, source
from bnnbench.store.store import ResultStore
from bnnbench.store.submission import is_submission, write_submission
from bnnbench.store.submission_file import opened
from bnnbench.store.submission_source import submission_source
from bnnbench.store.validation import faults
from bnnbench.tasks import Task
from bnnbench.tasks.budget import budget_of
from bnnbench.tasks.own import all_tasks

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from bnnbench.checks.compare import Verdict
    from bnnbench.reporting.live.server import Serving
    from bnnbench.reporting.standing import Standing

DEFAULT_DB = "results.db"
MOST_JOBS = 64
MOST_TRIALS = 10_000
MOST_GRADIENTS = 10**15


def run(
    methods: str | Inference | Sequence[str | Inference] = "all",
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
    precision: str = "float32",
    timeout: float | None = None,
    memory: float | None = None,
    executor: str = "local",
    address: str | None = None,
    cpus_per_pack: float | None = None,
    gpus_per_pack: float | None = None,
    exhaustive: bool = False,
    dry_run: bool = False,
    force: bool = False,
    quiet: bool = True,
    tuned: str | os.PathLike[str] | None = None,
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
        artifacts: the folder of posteriors and other arrays, or its URL in an object store (`s3://bucket/name`), stored
            with the database the first time; None for the one that is stored, or `NAME.artifacts` beside an SQLite file
            or in the working directory.
        data_dir: the data root, see `bnnbench data list`.
        device: `auto`, `cpu` or `cuda`.
        jobs: processes that train at once; 1 for this one alone. None for one a core, or one in all on a GPU and
            where there is little to do. No number depends on it, and nothing needs `if __name__ == "__main__":`;
            methods and tasks of classes that other processes cannot import, as those of a notebook, are trained here.
        threads: CPU threads of a large network, at most one for each core; None for 2. The last digits of its numbers
            depend on it. A small network always has one.
        precision: of the products of large networks in training, of methods that declare it: `float32`, or rounded and
            faster, `bf16` on a CPU that has it, `tf32` on a GPU. All else is computed in float32 always.
        timeout: seconds after which a pack is stopped and its cells stored as `timeout`.
        memory: GB that the process of an estimator may take before it is ended; None for half of the machine's.
        executor: `local`, or `ray` for the machines of a Ray cluster. address: of that cluster; None for the one that
            `RAY_ADDRESS` names, or one that begins here. cpus_per_pack, gpus_per_pack: what a pack takes there, None
            for 1 and 0; `jobs` packs run at once, None for as many as there is room for.
        exhaustive: sweeps over rotated and attacked images take all test images and all samples.
        dry_run: plan only. force: train finished cells again. quiet: no progress display.
        tuned: database of trials (`tune`): each cell gets the configuration that was best on its own validation rows.
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
    where = executor_of(executor, jobs, address, cpus_per_pack, gpus_per_pack)
    resources = Resources.of(device, where, threads, precision, timeout, memory)
    request = _request(
        methods, tasks, budget, split_rule, splits, settings, data_dir,
        test_sets=names_of(test_sets, "--test-sets"), calibrations=names_of(calibrate, "--calibrate"), seeds=seeds,
        exhaustive=exhaustive,
    )  # fmt: skip
    return run_request(
        request, db, artifacts, resources, dry_run=dry_run, force=force, quiet=quiet,
        tuned=None if tuned is None else path_of(tuned, "--tuned"),
    )  # fmt: skip


def _request(
    methods: Any, tasks: Any, budget: Any, split_rule: Any, splits: Any, settings: Any, data_dir: Any, **more: Any
) -> Request:
    """What is asked for, as it was given."""
    return Request(
        methods=entries_of(methods, "--methods", Inference),
        tasks=entries_of(tasks, "--task", Task),
        budget=budget_of(text_of(budget, "--budget")),
        split_rule=None if split_rule is None else text_of(split_rule, "--split-rule"),
        splits=None if splits is None else wholes_of(splits, "--splits"),
        settings=parse_overrides(settings),
        root=None if data_dir is None else path_of(data_dir, "--data-dir"),
        **more,
    )


def tune(
    methods: str | Inference | Sequence[str | Inference] = "all",
    tasks: str | Task | Sequence[str | Task] = "all",
    *,
    trials: int = 16,
    sampler: str = "qmc",
    split_rule: str | None = None,
    splits: str | Sequence[int] | None = None,
    budget: str = "quick",
    settings: str | Iterable[str] = (),
    db: str | os.PathLike[str] = "tune.db",
    data_dir: str | os.PathLike[str] | None = None,
    device: str = "auto",
    jobs: int | None = None,
    threads: int | None = None,
    precision: str = "float32",
    timeout: float | None = None,
    memory: float | None = None,
    executor: str = "local",
    address: str | None = None,
    cpus_per_pack: float | None = None,
    gpus_per_pack: float | None = None,
    dry_run: bool = False,
    quiet: bool = True,
    export: str | None = None,
) -> Summary:
    """Try the same number of configurations of every method on every split, of which `run(tuned=)` takes the best.

    Trial 0 is the default configuration; the others are drawn from `Inference.space()`. Each split chooses by the
    log-likelihood of its own validation rows. Trials are cells of their own, which no table of results shows; finished
    ones are not run again, and more trials later go on from there.

    Args:
        methods, tasks, split_rule, splits, budget, data_dir, device, jobs, threads, precision, timeout, memory,
            executor, address, cpus_per_pack, gpus_per_pack, dry_run, quiet: as of `run`.
        trials: how many of each method on each split.
        sampler: `qmc` (a Sobol sequence: all trials at once) or `tpe` (four at a time, near what was good).
        settings: `method.param=value` strings: what is set is not tuned.
        db: database of the trials.
        export: `optuna` writes them as studies too, `tune.optuna.db` beside `tune.db`, for optuna-dashboard.

    Raises:
        UserError: bad input, missing data, an unusable database; nothing is written then.

    Examples:
        >>> import bnnbench, tempfile
        >>> folder = tempfile.mkdtemp()
        >>> bnnbench.tune("map", "diabetes", trials=4, splits="0,1", budget="smoke", db=f"{folder}/tune.db").cells
        8
        >>> chosen = {"tuned": f"{folder}/tune.db", "db": f"{folder}/results.db"}
        >>> bnnbench.run("map", "diabetes", splits="0,1", budget="smoke", **chosen).cells
        2
        >>> set(bnnbench.scores(f"{folder}/results.db").config)
        {'tuned-4'}
    """
    if text_of(sampler, "--sampler") not in AT_ONCE:
        raise UserError(f"--sampler must be {' or '.join(AT_ONCE)}, not {sampler!r}.")
    if export not in (None, "optuna"):
        raise UserError(f"--export must be optuna, not {export!r}.")
    where = executor_of(executor, jobs, address, cpus_per_pack, gpus_per_pack)
    resources = Resources.of(device, where, threads, precision, timeout, memory)
    request = _request(methods, tasks, budget, split_rule, splits, settings, data_dir)
    number = whole_of(trials, "--trials", MOST_TRIALS)
    return tune_request(
        request, number, sampler, db, resources, dry_run=dry_run, quiet=quiet, export=export is not None
    )


def check(
    method: str | Inference,
    settings: str | Iterable[str] = (),
    threads: int | None = None,
    db: str | os.PathLike[str] | None = None,
) -> Iterator[Verdict]:
    """Put a method on problems with known answers; one verdict after the other.

    Args:
        method: its name, or a configured object, registered or not.
        settings: `method.param=value` strings, of a method that is named.
        threads: CPU threads, None for one: the networks are small.
        db: where the verdicts are stored once all are found, for the report on implementations; None: nowhere.

    Raises:
        UserError: no such method or parameter, a method without regression, or an unusable database.

    Examples:
        >>> import bnnbench
        >>> [verdict.passed for verdict in bnnbench.check("constant")]
        [None, None, None, None, None, None, None, None, True]
    """
    from bnnbench.checks.checks import checks
    from bnnbench.experiment.verdicts import store_verdicts

    number = 1 if threads is None else large_threads(threads)
    found = method_to_check(method, parse_overrides(settings))
    if db is not None:
        ResultStore(db).close()  # what is no database is refused before minutes are spent

    def verdicts() -> Iterator[Verdict]:
        done, left = [], iter(checks(found))
        following = computing_with(number)(lambda: next(left, None))  # and not while a caller looks at a verdict
        for verdict in iter(following, None):
            done.append(verdict)
            yield verdict
        if db is not None:
            store_verdicts(found, done, db, number)

    return verdicts()


def splits(
    task: str | Task,
    *,
    split_rule: str | None = None,
    test_targets: bool = False,
    data_dir: str | os.PathLike[str] | None = None,
) -> list[split_files.SplitArrays]:
    """The splits of a task as arrays in original units, for a program that trains by itself.

    Args:
        task: its name, or an object. split_rule: None takes the task's default.
        test_targets: whether the targets of test rows are among them. They are not by default, so that nothing is
            fitted to them by accident: `score` has them.
        data_dir: the data root.

    Raises:
        UserError: no such task or rule, missing data, or a task without targets.

    Examples:
        >>> import bnnbench
        >>> first = bnnbench.splits("diabetes")[0]
        >>> first.name, first.train.x.shape, first.validation.y.shape, first.test.x.shape, first.test.y
        ('10fold-0', (358, 10), (39,), (45, 10), None)
    """
    target = scoring.target_of(task, split_rule, data_dir)
    return list(split_files.split_arrays(target.task, target.rule, target.root, test_targets=test_targets))


def write_splits(
    task: str | Task,
    out: str | os.PathLike[str],
    *,
    split_rule: str | None = None,
    formats: str | Sequence[str] = split_files.FORMATS,
    test_targets: bool = False,
    data_dir: str | os.PathLike[str] | None = None,
) -> list[Path]:
    """Write the splits of a task into a new folder, for a program in any language; returns the files written.

    Args:
        task, split_rule, test_targets, data_dir: as of `splits`.
        out: the folder. In it, `task.json`, and for each split a folder with `train`, `validation` and `test`.
        formats: of `npz` and `csv`; images are written as npz alone.

    Raises:
        UserError: as `splits`; the folder holds something or cannot be written. Nothing is written then.
    """
    target, folder = scoring.target_of(task, split_rule, data_dir), path_of(out, "--out")
    kinds = names_of(formats, "--format")
    return split_files.write_splits(target.task, target.rule, target.root, folder, kinds, test_targets=test_targets)


def score(
    predictions: str | os.PathLike[str] | Mapping[Any, Mapping[str, Any]],
    task: str | Task,
    method: str,
    *,
    citation: str = "",
    gradients: int | None = None,
    split_rule: str | None = None,
    splits: str | Sequence[int] | None = None,
    budget: str = "quick",
    db: str | os.PathLike[str] = DEFAULT_DB,
    artifacts: str | os.PathLike[str] | None = None,
    data_dir: str | os.PathLike[str] | None = None,
    force: bool = False,
) -> Scored:
    """Score predictions that were made elsewhere, and store them beside trained cells, marked as external.

    The arrays of a split are `ids` [N] of its test rows, in any order, and one of these forms, in original units:
    `mean` and `scale` [S, N], the components of a mixture; `samples` [S, N], draws of the target, noise included;
    `quantiles` [Q, N] and `levels` [Q], with or without the `mean` [N]; `edges` [B + 1] or [N, B + 1] and `probs` [S,
    N, B]; for classes `probs` or `log_probs` [S, N, K]. Of a single component, [N] and [N, K] will do.

    Args:
        predictions: a folder with one file a split, `10fold-0.npz` or `.csv`; the file of one split; or split -> arrays
            by name, a split being its index or its name.
        task: its name, or an object.
        method: the name under which they stand in tables; not that of a method of this suite.
        citation: where the method comes from, in a line.
        gradients: minibatch gradients that each split cost, where that is known.
        split_rule: None takes the task's default. splits: indices of the splits to score, None for all.
        budget: beside the trained cells of which budget they stand.
        db, artifacts, data_dir: as of `run`.
        force: score again, and replace other predictions of the same name.

    Raises:
        UserError: predictions that are of no form, for other rows, not finite, not normalised; a name that is taken;
            other predictions of this name in the database. Nothing is stored then.

    Examples:
        >>> import bnnbench, numpy, tempfile
        >>> predictions = {}
        >>> for split in bnnbench.splits("diabetes"):
        ...     y, n = split.train.y, len(split.test.ids)
        ...     arrays = {"mean": numpy.full(n, y.mean()), "scale": numpy.full(n, y.std())}
        ...     predictions[split.name] = {"ids": split.test.ids, **arrays}
        >>> db = tempfile.mkdtemp() + "/results.db"
        >>> scored = bnnbench.score(predictions, "diabetes", "training-mean", db=db)
        >>> scored.splits["10fold-0"], scored.left_out
        ('scored', ())
    """
    declared = Declared(
        text_of(method, "--method"),
        scoring.citation_of(citation),
        0 if gradients is None else whole_of(gradients, "--gradients", MOST_GRADIENTS),
        budget_of(text_of(budget, "--budget")).name,
    )
    target = scoring.target_of(task, split_rule, data_dir)
    wanted = None if splits is None else scoring.indices_of(target, splits)
    found = (
        scoring.from_arrays(target, predictions, wanted)
        if isinstance(predictions, Mapping)
        else from_files(target, path_of(predictions, "PREDICTIONS"), wanted)
    )
    return score_external(target, found, declared, db, artifacts, force=force)


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
    formats: str | Sequence[str] = ("html", "md", "csv", "latex"),
    figures: str | Sequence[str] = ("svg",),
    jobs: int | None = 1,
    trials: str | os.PathLike[str] | None = None,
    task: str | Sequence[str] | None = None,
) -> list[Path]:
    """Write the pages, comparison tables and figures of a database into a folder; returns the files written.

    Results of methods and tasks that are installed here in a newer version are shown and marked as superseded.

    Args:
        db: the database. out: the folder.
        tasks, methods: names to keep, a list or one string with commas (of tasks: groups too); None keeps everything.
        budget: one budget; None takes for each section the largest that it has.
        formats: of `html` (the page `index.html`, one file that needs no network), `md` (a summary, `index.md`, and
            pages with all tables and figures), `csv` and `latex`.
        figures: formats of the figures, of `svg`, `png` and `pdf`; the text shows the first. `none`: no figures.
        jobs: processes that draw figures, None for one a core. With several, a script needs the usual
            `if __name__ == "__main__":`, for each process imports it.
        trials: database of the trials of hyperparameters (`tune`), for a page of their own; None: `db` itself.
        task: former name of `tasks`.

    Raises:
        UserError: bad input, an unusable database or folder; nothing is written then.
    """
    from bnnbench.reporting.build import build
    from bnnbench.reporting.output import WRITTEN

    tasks = renamed("tasks=", tasks, None, "task=", task)
    folder = path_of(out, "--out")
    with ExitStack() as stores:
        store = stores.enter_context(ResultStore(db, read_only=True))
        tried = None if trials is None else stores.enter_context(ResultStore(trials, read_only=True))
        for name in WRITTEN:
            store.refuse_output(folder / name)
        return build(
            store,
            folder,
            None if tasks is None else names_of(tasks, "--task"),
            None if methods is None else names_of(methods, "--methods"),
            None if budget is None else text_of(budget, "--budget"),
            names_of(formats, "--format"),
            _versions(),
            figures=names_of(figures, "--figures"),
            processes=None if jobs is None else whole_of(jobs, "--jobs", MOST_JOBS),
            trials=tried,
        )


def _versions() -> dict[str, dict[str, Any]]:
    """Of the methods and tasks installed here, by which reports tell what is superseded."""
    return {
        "method": {method.name: method.version for method in METHODS},
        "task": {known.name: known.version for known in all_tasks(None)},
    }


def serve(db: str | os.PathLike[str] = DEFAULT_DB, *, host: str = "127.0.0.1", port: int = 8000) -> Serving:
    """Serve the page of `report` from the database as it is, while runs go on, by threads of this process.

    It is made anew when somebody looks and there are new results; an open page says that there are, and keeps its view
    when it is loaded again. The database is only read, and one of an older edition stays as it is.

        with bnnbench.serve("uci.db", port=0) as server:
            print(server.url)
            server.wait()

    Args:
        db: the database.
        host: a name or an address of this machine. The default is reached from this machine alone; with `0.0.0.0`
            everybody who reaches the machine can read the results.
        port: 0 for any free one, which `url` tells.

    Returns:
        A context manager; `close()` ends it too.

    Raises:
        UserError: an unusable database, host or port.
    """
    from bnnbench.reporting.live.server import MOST_PORT, Serving

    place = text_of(host, "--host") or "127.0.0.1"
    number = 0 if port == 0 else whole_of(port, "--port", MOST_PORT)
    return Serving(db, _versions(), place, number)


def status(db: str | os.PathLike[str] = DEFAULT_DB) -> Standing:
    """How a database stands: what is being trained, by whom and since when, counts, failures, and the speed of late.

    Raises:
        UserError: an unusable database.

    Examples:
        >>> import bnnbench, tempfile
        >>> db = tempfile.mkdtemp() + "/results.db"
        >>> _ = bnnbench.run("constant", "diabetes", budget="smoke", db=db)
        >>> standing = bnnbench.status(db)
        >>> standing.counts, standing.running
        ({'ok': 10}, ())
    """
    from bnnbench.reporting.standing import standing

    with ResultStore(db, read_only=True, glance=True) as store:
        return standing(store)


def figure(
    name: str,
    db: str | os.PathLike[str] = DEFAULT_DB,
    *,
    methods: str | Sequence[str] | None = None,
    tasks: str | Sequence[str] | None = None,
    size: str = "column",
    out: str | os.PathLike[str] | None = None,
    metric: str | None = None,
    budget: str | None = None,
    split_rule: str | None = None,
    reference: str | None = None,
) -> Figure:
    """One chart as a figure for a paper or a slide, of the very size that it is printed in.

    Args:
        name: of a figure (`bnnbench list figures`). db: the database.
        methods: rows as tables call them, `sgld` or `sgld [lr=0.01]`, in the order of panels and legends; None for all.
        tasks: names and groups; None for all.
        size: `column` (3.3 in wide), `text` (6.8 in), both as tall as needed, or `slide` (10 x 5.6 in).
        out: the file to write, too: `.pdf`, `.svg` or `.png`. Its text is text, and equal figures have equal bytes.
        metric: None for the usual one of the figure.
        budget: None for the largest. split_rule: None for that of most cells.
        reference: the method whose line stands in `scores`; None for `map`, where it is shown.

    Returns:
        The figure; `get_label()` is a caption that says what it shows.

    Raises:
        UserError: an unknown name, nothing to draw, more methods than the figure has room for, or a file that cannot be
            written; nothing is written then.

    Examples:
        >>> import bnnbench, tempfile
        >>> db = tempfile.mkdtemp() + "/results.db"
        >>> _ = bnnbench.run("constant,map", "diabetes", budget="smoke", db=db)
        >>> figure = bnnbench.figure("scores", db, tasks="diabetes", metric="rmse")
        >>> figure.get_size_inches()[0]
        np.float64(3.3)
    """
    from bnnbench.reporting.figures.paper.draw import draw
    from bnnbench.reporting.figures.paper.file import format_of, save

    place = None if out is None else file_of(out, "--out")
    if place is not None:
        format_of(place)
    with ResultStore(db, read_only=True) as store:
        if place is not None:
            store.refuse_output(place)
        found = draw(
            store,
            text_of(name, "NAME"),
            None if methods is None else rows_of(methods, "--methods"),
            None if tasks is None else names_of(tasks, "--task"),
            text_of(size, "--size"),
            None if metric is None else text_of(metric, "--metric"),
            None if budget is None else text_of(budget, "--budget"),
            None if split_rule is None else text_of(split_rule, "--split-rule"),
            None if reference is None else text_of(reference, "--reference"),
            _versions(),
        )
    if place is not None:
        save(found, place)
    return found


def forget(
    db: str | os.PathLike[str] = DEFAULT_DB,
    *,
    superseded: bool = False,
    artifacts: bool = False,
    secondary: bool = False,
    dry_run: bool = False,
) -> Forgotten:
    """Drop from a database what newer versions supersede, stored arrays, or secondary scores; an SQLite file shrinks.

    Args:
        db: the database; its artifacts are looked for where they are stored.
        superseded: cells of versions of their task or method that are not the ones registered last, and those of
            defaults that have changed since, with all that was stored of them: no table, figure or export shows them.
        artifacts: posteriors and predictive samples of all cells; scores and plot data stay.
        secondary: scores of training and validation rows in metrics that are no headline: no report shows them.
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
    return forget_in(db, superseded=superseded, artifacts=artifacts, secondary=secondary, dry_run=dry_run)


def merge(
    sources: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
    into: str | os.PathLike[str],
    *,
    prefer: str | None = None,
    artifacts: str | os.PathLike[str] | None = None,
    dry_run: bool = False,
) -> Merged:
    """Write everything that databases and submissions hold into one database, new or not, in one transaction.

    Args:
        sources: databases (paths or URLs, of this edition or an older one; they stay as they are), and files of
            `bnnbench submit` (`.json` or `.zip`).
        into: the database written to.
        prefer: whose attempt is the current one where a cell has other numbers in another database: of the `first` that
            has it (the one written to counts before the sources), of the `last`, or the `newest`. None: then nothing is
            written.
        artifacts: the folder of its artifacts, if it is new.
        dry_run: only say what would be merged.

    Raises:
        MergeConflict: numbers contradict each other; it has a sentence for each in `conflicts`.
        UserError: a database or file that cannot be read or written; nothing is written then.

    Examples:
        >>> import bnnbench, tempfile
        >>> folder = tempfile.mkdtemp()
        >>> for name, method in [("a", "constant"), ("b", "map")]:
        ...     _ = bnnbench.run(method, "diabetes", splits=[0, 1], budget="smoke", db=f"{folder}/{name}.db")
        >>> merged = bnnbench.merge([f"{folder}/a.db", f"{folder}/b.db"], f"{folder}/all.db")
        >>> len(bnnbench.scores(f"{folder}/all.db", evaluation="test", metric="rmse"))
        4
    """
    places = [sources] if isinstance(sources, (str, os.PathLike)) else sources
    if isinstance(places, (bytes, dict)) or not isinstance(places, Iterable) or not (places := list(places)):
        raise UserError(f"Name the databases to merge, a path or a list of them, not {sources!r:.80}.")
    with ExitStack() as stack:
        entered = [stack.enter_context(_opened(place)) for place in places]
        return merge_into(entered, into, prefer=prefer, artifacts=artifacts, dry_run=dry_run)


def _opened(place: str | os.PathLike[str]) -> AbstractContextManager[Source]:
    return submission_source(place, installed()) if is_submission(place) else source(place)


def compare(
    *methods: str,
    db: str | os.PathLike[str] = DEFAULT_DB,
    against: str | os.PathLike[str] | None = None,
    tasks: str | Sequence[str] | None = None,
    metrics: str | Sequence[str] | None = None,
    budget: str | None = None,
    split_rule: str | None = None,
    evaluation: str = TEST,
) -> pd.DataFrame:
    """Two methods of one database, or the same methods in two, paired by task, split and seed.

    Args:
        methods: rows as reports call them, `sgld` or `sgld [lr=0.01]`: two of one database; with `against` any number,
            none for all that both have.
        db, against: the databases.
        tasks: names and groups. metrics: names, None for those of the main tables.
        budget: None for the largest that both have. split_rule: None for all. evaluation: the test set.

    Returns:
        A line a metric and task, and one for all tasks: means, their difference (positive where the first is better)
        with its 95 % interval, the verdict of the test behind bold numbers, wins, ties and losses over splits, and how
        many cells only one of the two has. `attrs["notes"]` names these.

    Raises:
        UserError: a name without results, or nothing that both have.

    Examples:
        >>> import bnnbench, tempfile
        >>> db = tempfile.mkdtemp() + "/results.db"
        >>> _ = bnnbench.run("constant,map", "diabetes", budget="smoke", db=db)
        >>> table = bnnbench.compare("map", "constant", db=db, metrics="rmse")
        >>> table[["task", "wins", "ties", "losses"]].values.tolist()
        [['diabetes', 10, 0, 0]]
    """
    from bnnbench.reporting.paired import paired

    with ExitStack() as stack:
        stores = [
            stack.enter_context(ResultStore(place, read_only=True)) for place in (db, against) if place is not None
        ]
        found = paired(
            stores[0],
            stores[1] if against is not None else None,
            [text_of(name, "METHODS") for name in methods],
            tasks=None if tasks is None else names_of(tasks, "--task"),
            metrics=None if metrics is None else names_of(metrics, "--metric"),
            budget=None if budget is None else text_of(budget, "--budget"),
            rule=None if split_rule is None else text_of(split_rule, "--split-rule"),
            evaluation=text_of(evaluation, "--evaluation"),
        )
    found.table.attrs["notes"] = list(found.notes)
    return found.table


def rescore(
    db: str | os.PathLike[str] = DEFAULT_DB,
    *,
    tasks: str | Sequence[str] = "all",
    methods: str | Sequence[str] = "all",
    test_sets: str | Sequence[str] = (),
    calibrate: str | Sequence[str] = (),
    exhaustive: bool = False,
    data_dir: str | os.PathLike[str] | None = None,
    device: str = "auto",
    threads: int | None = None,
    quiet: bool = True,
) -> Rescored:
    """Add to stored cells what this bnnbench can give and they lack, from stored predictives and posteriors.

    That are metrics which were added since, further test sets and calibrations, and distances from the gold standard.
    Nothing is trained, and no score that is there changes. Where the predictive is kept, the new numbers are those of
    a fresh run, to the last digit.

    Args:
        db: the database, its artifacts where they are stored.
        tasks, methods: names and groups, of what is stored.
        test_sets, calibrate, exhaustive, data_dir, device, threads: as of `run`.
        quiet: no progress display.

    Raises:
        UserError: bad input, or an unusable database; nothing is written then.

    Examples:
        >>> import bnnbench, tempfile
        >>> db = tempfile.mkdtemp() + "/results.db"
        >>> _ = bnnbench.run("map", "diabetes", splits=[0], budget="smoke", db=db)
        >>> bnnbench.rescore(db, calibrate="temperature").changed
        1
    """
    request = Request(
        methods=names_of(methods, "--methods"),
        tasks=names_of(tasks, "--task"),
        budget=budget_of("full"),
        test_sets=names_of(test_sets, "--test-sets"),
        calibrations=names_of(calibrate, "--calibrate"),
        root=None if data_dir is None else path_of(data_dir, "--data-dir"),
        exhaustive=exhaustive,
    )
    return rescore_stored(request, db, device_of(device), large_threads=large_threads(threads), quiet=quiet)


def submit(
    db: str | os.PathLike[str] = DEFAULT_DB,
    out: str | os.PathLike[str] = "submission.zip",
    *,
    methods: str | Sequence[str] | None = None,
    tasks: str | Sequence[str] | None = None,
    budget: str | None = None,
) -> list[str]:
    """Write results into one file, which `validate` checks and `merge` takes.

    Args:
        db: the database.
        out: the file. `.json` holds scores, curves, provenance and the checksums of the predictives; `.zip` holds the
            predictives, too, from which `validate` scores again.
        methods, tasks: names, None for all. budget: None for all.

    Returns:
        What `validate` would find wrong with it.

    Raises:
        UserError: there are no such results, a predictive is missing, or the file cannot be written.

    Examples:
        >>> import bnnbench, tempfile
        >>> folder = tempfile.mkdtemp()
        >>> _ = bnnbench.run("map", "diabetes", budget="smoke", db=f"{folder}/results.db")
        >>> bnnbench.submit(f"{folder}/results.db", f"{folder}/map.zip", methods="map")
        []
    """
    wanted = {
        "method": None if methods is None else names_of(methods, "--methods"),
        "task": None if tasks is None else names_of(tasks, "--task"),
        "budget": None if budget is None else [text_of(budget, "--budget")],
    }
    with ResultStore(db, read_only=True) as store:
        write_submission(store, path_of(out, "--out"), splits_of, **wanted)
    return validate(out)


def validate(file: str | os.PathLike[str], data_dir: str | os.PathLike[str] | None = None) -> list[str]:
    """What is wrong with a file of `submit`, a sentence each; nothing of a valid one.

    Checked are its form, its checksum, the cells' fingerprints, versions, statuses, scores (finite, and of metrics that
    are known) and completeness over splits; in a zip the predictives' checksums, and that the scores follow from them,
    where the task's data are here.

    Raises:
        UserError: it is no such file.
    """
    root = None if data_dir is None else path_of(data_dir, "--data-dir")
    with opened(file) as submission:
        return faults(submission, installed(root))
