"""Commands that train: a run, and the problems with known answers."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import click

from bnnbench.cli.common import data_option, db_option, table

MEANS = (
    click.option("--device", default="auto", show_default=True, help="auto, cpu or cuda."),
    click.option("--jobs", type=int, help="Processes that train at once. Default: one a core, one in all on a GPU."),
    click.option("--threads", type=int, help="CPU threads of a large network; a small one has one.  [default: 2]"),
    click.option(
        "--precision",
        default="float32",
        show_default=True,
        help="Of the products of large networks in training: float32, or bf16 (CPUs) or tf32 (GPUs), which is faster.",
    ),
    click.option("--timeout", type=float, help="Seconds after which a pack is stopped."),
    click.option(
        "--memory", type=float, metavar="GB", help="What the process of an estimator may take.  [default: half of all]"
    ),
    click.option("--executor", default="local", show_default=True, help="local, or ray: a Ray cluster's machines."),
    click.option(
        "--address", help="Of the Ray cluster; auto: the one of this machine.  [default: RAY_ADDRESS, or begin one]"
    ),
    click.option("--cpus-per-pack", type=float, help="What a pack takes in a Ray cluster.  [default: 1]"),
    click.option("--gpus-per-pack", type=float, help="The same of GPUs.  [default: 0]"),
)


def means(command: Callable) -> Callable:
    """The options of what a command trains with."""
    for option in reversed(MEANS):
        command = option(command)
    return command


@click.command()
@click.option("--methods", default="all", show_default=True, help="Names or groups, with commas, or `all`.")
@click.option(
    "--task", "--tasks", "tasks", default="all", show_default=True, help="Names or groups, with commas, or `all`."
)
@click.option(
    "--split-rule",
    help="Split rule, as `bnnbench list tasks` shows. Default: each task's own.",
)
@click.option("--splits", help="Numbers of the splits to run, with commas. Default: all.")
@click.option("--folds", hidden=True, help="Former name of --splits.")
@click.option(
    "--test-sets",
    default="",
    help="Further test sets of tasks that have them: families like rotation,kmnist,fgsm, the group `shift`, or `all`.",
)
@click.option(
    "--calibrate",
    default="",
    help="Calibrations after training, on the validation rows: temperature, conformal, or `all`. Each is scored beside "
    "the test rows' own scores.",
)
@click.option("--budget", default="quick", show_default=True, help="smoke, quick, full or long.")
@click.option("--seeds", default=1, show_default=True, help="Number of training seeds.")
@click.option(
    "--set", "settings", multiple=True, metavar="METHOD.PARAM=VALUE", help="Hyperparameter; commas make a grid."
)
@db_option
@click.option(
    "--artifacts",
    metavar="FOLDER",
    help="Folder or URL (s3://..) of posteriors, stored with the database the first time.",
)
@data_option
@means
@click.option("--tuned", metavar="DB", help="Take the configurations that were best in `bnnbench tune --db DB`.")
@click.option("--exhaustive", is_flag=True, help="Sweeps of --test-sets over all test images, with all samples.")
@click.option("--dry-run", is_flag=True, help="Show what would be trained.")
@click.option("--force", is_flag=True, help="Train finished cells again.")
def run(dry_run: bool, db: str, **options: Any) -> None:
    """Train methods on tasks, score them, store everything; finished cells are not trained again.

    Exit status 1 if all cells that were to be trained failed.

    \b
    Example:
      bnnbench run --methods map,ensemble-deep --task uci --budget full
      bnnbench run --methods sgld --task yacht --splits 0,1 --set sgld.lr=0.001,0.01 --db tune.db
      bnnbench run --methods all --task mnist --test-sets rotation,kmnist,fgsm
      bnnbench run --methods map,swag --task uci --calibrate temperature,conformal
      bnnbench run --methods map,swag --task uci --budget full --tuned tune.db
    """
    from bnnbench import api
    from bnnbench.experiment.renamed import without_rule

    options["splits"], options["split_rule"] = without_rule(options["splits"], options["split_rule"])
    summary = api.run(db=db, dry_run=dry_run, quiet=False, **options)
    _say(summary, "cells", dry_run)
    if dry_run:
        return
    from bnnbench.cli.summary import print_tables

    shown = (options[name] for name in ("tasks", "methods", "budget", "split_rule", "data_dir"))
    print_tables(db, *shown)
    if summary.all_failed:
        sys.exit(1)


@click.command()
@click.option("--methods", default="all", show_default=True, help="Names or groups, with commas, or `all`.")
@click.option("--task", "--tasks", "tasks", default="uci", show_default=True, help="Names or groups, with commas.")
@click.option("--trials", default=16, show_default=True, help="Configurations of each method, the default one first.")
@click.option("--sampler", default="qmc", show_default=True, help="qmc (all trials at once) or tpe (four at a time).")
@click.option("--split-rule", help="Split rule, as `bnnbench list tasks` shows. Default: each task's own.")
@click.option("--splits", help="Numbers of the splits to tune, with commas. Default: all.")
@click.option("--budget", default="quick", show_default=True, help="Of each trial: smoke, quick, full or long.")
@click.option(
    "--set", "settings", multiple=True, metavar="METHOD.PARAM=VALUE", help="Hyperparameter that is not tuned."
)
@click.option("--db", default="tune.db", show_default=True, help="SQLite file or database URL of the trials.")
@data_option
@means
@click.option("--export", type=click.Choice(["optuna"]), help="Write the trials as studies for optuna-dashboard, too.")
@click.option("--dry-run", is_flag=True, help="Show what would be trained.")
def tune(dry_run: bool, db: str, **options: Any) -> None:
    """Try the same number of configurations of every method on every split; `run --tuned` takes the best of them.

    Each split chooses by its own validation rows. `bnnbench list methods --space` shows what is tuned. Finished trials
    are not run again.

    \b
    Example:
      bnnbench tune --methods map,sgld --task yacht --trials 16 --db tune.db
      bnnbench tune --methods all --task uci --splits 0,1,2,3,4 --sampler tpe
    """
    from bnnbench import api

    summary = api.tune(db=db, dry_run=dry_run, quiet=False, **options)
    _say(summary, "trials", dry_run)
    if not dry_run:
        click.echo(f"The best of each split are run by: bnnbench run --tuned {db} --budget full")
    if summary.all_failed:
        sys.exit(1)


def _say(summary: Any, what: str, dry_run: bool) -> None:
    """What a run did, or would do."""
    for warning in summary.warnings:
        click.echo(f"Warning: {warning}", err=True)
    if dry_run:
        table(["task", "method", what], summary.packs)
        click.echo(f"{summary.missing} of {summary.cells} {what} would be trained.")
        return
    if summary.rescored:
        click.echo(f"{summary.rescored} {what} got evaluations that they lacked, from what is stored.")
    counts = ", ".join(f"{n} {status.value}" for status, n in summary.statuses.items())
    click.echo(f"{summary.cells} {what}: {summary.cells - summary.missing} finished before, {counts or 'none'} now.")


@click.command()
@click.argument("method")
@click.option("--set", "settings", multiple=True, metavar="METHOD.PARAM=VALUE", help="Hyperparameter.")
@click.option("--threads", type=int, help="CPU threads.  [default: 1]")
@click.option("--db", help="Database that keeps the verdicts, for reports.  [default: none]")
def check(method: str, settings: tuple[str, ...], threads: int | None, db: str | None) -> None:
    """Put a method, also one of your own, on problems with known answers; exit status 1 if it fails one.

    \b
    Example:
      bnnbench check sgld --set sgld.lr=0.01
      bnnbench check posteriors-sgld --db peers.db
    """
    from bnnbench import api

    verdicts = []
    for verdict in api.check(method, settings, threads, db):
        verdicts.append(verdict)
        click.echo(f"{verdict.name}: {_outcome(verdict.passed)}", err=True)
    cells = [(v.name, _outcome(v.passed), _figure(v.figure), _figure(v.limit), v.note) for v in verdicts]
    table(["check", "outcome", "figure", "limit", "found"], cells)
    if db is not None:
        click.echo(f"Kept in {db}.")
    if any(verdict.passed is False for verdict in verdicts):
        sys.exit(1)


def _outcome(passed: bool | None) -> str:
    return {True: "pass", False: "FAIL", None: "not applicable"}[passed]


def _figure(value: float | None) -> str:
    return "" if value is None else f"{value:.2g}"
