"""The command line: options, and one call of the Python API a command.

Heavy modules are imported inside the commands, so that `bnnbench --help` answers at once.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from bnnbench import __version__
from bnnbench.errors import UserError


class _Group(click.Group):
    """Shows a UserError as one sentence with exit status 2; Ctrl-C leaves what is finished in the database."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except UserError as error:
            raise click.ClickException(str(error)) from error
        except KeyboardInterrupt:
            click.echo(
                "Interrupted; what is finished is in the database, the same command goes on from there.", err=True
            )
            sys.exit(130)
        except BrokenPipeError:  # `bnnbench export | head`
            sys.stdout = open(os.devnull, "w")  # noqa: SIM115 - the interpreter flushes it on exit
            sys.exit(141)


click.ClickException.exit_code = 2  # bad input has status 2, whoever notices it

db_option = click.option("--db", default="results.db", show_default=True, help="SQLite file or database URL.")
data_option = click.option("--data-dir", type=click.Path(path_type=Path), help="Data root; default $BNNBENCH_DATA.")


@click.group(cls=_Group, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__)
def main() -> None:
    """The benchmark suite for Bayesian neural networks.

    \b
    Example:
      bnnbench run --methods all --task starter
      bnnbench report
    """
    # Idle OpenMP threads that spin forever make every step many times slower when the machine is shared.
    os.environ.setdefault("GOMP_SPINCOUNT", "10000")


@main.command()
@click.option("--methods", default="all", show_default=True, help="Names or groups, with commas, or `all`.")
@click.option(
    "--task",
    default="all",
    show_default=True,
    help="Names or groups, with commas, or `all`; `shift` for test sets off the manifold of images.",
)
@click.option("--splits", help="Split rule: 10fold, 10fold-grouped, gal, gap, official. Default: each task's own.")
@click.option("--folds", help="Numbers of the splits to run, with commas. Default: all.")
@click.option("--budget", default="quick", show_default=True, help="smoke, quick or full.")
@click.option("--seeds", default=1, show_default=True, help="Number of training seeds.")
@click.option(
    "--set", "settings", multiple=True, metavar="METHOD.PARAM=VALUE", help="Hyperparameter; commas make a grid."
)
@db_option
@data_option
@click.option("--device", default="auto", show_default=True, help="auto, cpu or cuda.")
@click.option("--threads", type=int, help="CPU threads; default all cores.")
@click.option("--timeout", type=float, help="Seconds after which a pack is stopped.")
@click.option("--exhaustive", is_flag=True, help="Rotations and attacks of all test images, with all samples.")
@click.option("--dry-run", is_flag=True, help="Show what would be trained.")
@click.option("--force", is_flag=True, help="Train finished cells anew.")
def run(dry_run: bool, db: str, **options: Any) -> None:
    """Train methods on tasks, score them, store everything; finished cells are not trained again.

    \b
    Example:
      bnnbench run --methods map,ensemble-deep --task uci --budget full
      bnnbench run --methods sgld --task yacht --set sgld.lr=0.001,0.01 --db tune.db
    """
    from bnnbench import api

    summary = api.run(db=db, dry_run=dry_run, quiet=False, **options)
    for warning in summary.warnings:
        click.echo(f"Warning: {warning}", err=True)
    if dry_run:
        _table(["task", "method", "cells"], summary.packs)
        click.echo(f"{summary.missing} of {summary.cells} cells would be trained.")
        return
    if summary.rescored:
        click.echo(f"{summary.rescored} cells got evaluations that they lacked, from their stored posteriors.")
    counts = ", ".join(f"{n} {status.value}" for status, n in summary.statuses.items())
    click.echo(f"{summary.cells} cells: {summary.cells - summary.missing} finished before, {counts or 'none'} now.")
    from bnnbench.summary import print_tables

    print_tables(db, options["task"], options["methods"], options["budget"], options["splits"])


@main.command()
@db_option
@click.option("--out", default="reports", show_default=True, help="Folder to write to.")
@click.option("--task", help="Names or groups, with commas; default everything stored.")
@click.option("--methods", help="Names, with commas; default everything stored.")
@click.option("--budget", help="smoke, quick or full; default the largest stored.")
@click.option("--format", "formats", default="md,csv,latex", show_default=True, help="md, csv, latex.")
def report(formats: str, **options: Any) -> None:
    """Write comparison tables and figures from a database.

    \b
    Example:
      bnnbench report --db results.db --out reports
    """
    from bnnbench import api

    written = api.report(formats=formats.split(","), **options)
    click.echo(f"Wrote {len(written)} files; begin with {Path(options['out']) / 'index.md'}.")


@main.command()
@click.argument("method")
@click.option("--set", "settings", multiple=True, metavar="METHOD.PARAM=VALUE", help="Hyperparameter.")
@click.option("--threads", type=int, help="CPU threads; default all cores.")
def check(method: str, settings: tuple[str, ...], threads: int | None) -> None:
    """Put a method, also one of your own, on problems with known answers; exit status 1 if it fails one.

    \b
    Example:
      bnnbench check sgld --set sgld.lr=0.01
    """
    from bnnbench import api

    verdicts = []
    for verdict in api.check(method, settings, threads):
        verdicts.append(verdict)
        click.echo(f"{verdict.name}: {_outcome(verdict.passed)}", err=True)
    cells = [(v.name, _outcome(v.passed), _figure(v.figure), _figure(v.limit), v.note) for v in verdicts]
    _table(["check", "outcome", "figure", "limit", "found"], cells)
    if any(verdict.passed is False for verdict in verdicts):
        sys.exit(1)


def _outcome(passed: bool | None) -> str:
    return {True: "pass", False: "FAIL", None: "not applicable"}[passed]


def _figure(value: float | None) -> str:
    return "" if value is None else f"{value:.2g}"


@main.command("list")
@click.argument("what", type=click.Choice(["methods", "tasks", "metrics", "budgets"]))
def list_(what: str) -> None:
    """Show the registered methods, tasks, metrics or budgets.

    \b
    Example:
      bnnbench list methods
    """
    _table(*_listings()[what]())


def _listings() -> dict[str, Callable[[], tuple[list[str], list[tuple]]]]:
    def methods() -> tuple[list[str], list[tuple]]:
        from bnnbench.methods import METHODS

        header = ["method", "version", "groups", "supports", "reference"]
        return header, [(m.name, m.version, ", ".join(m.tags), ", ".join(m.supports), m.reference) for m in METHODS]

    def tasks() -> tuple[list[str], list[tuple]]:
        from bnnbench.tasks import TASKS

        header = ["task", "kind", "groups", "splits", "data"]
        state = {True: "present", False: "to be fetched"}
        return header, [(t.name, t.kind, ", ".join(t.groups), ", ".join(t.rules), state[t.present()]) for t in TASKS]

    def metrics() -> tuple[list[str], list[tuple]]:
        from bnnbench.metrics import METRICS

        arrow = {1: "higher", -1: "lower", 0: ""}
        header = ["metric", "kinds", "better", "unit", "definition"]
        return header, [(m.name, ", ".join(m.kinds), arrow[m.better], m.unit, m.summary) for m in METRICS]

    def budgets() -> tuple[list[str], list[tuple]]:
        from bnnbench.tasks.budget import BUDGETS

        header = ["budget", "gradients per network", "predictive samples", "for"]
        return header, [(b.name, f"{b.steps:,}", b.samples, b.summary) for b in BUDGETS.values()]

    return {"methods": methods, "tasks": tasks, "metrics": metrics, "budgets": budgets}


@main.command()
@db_option
def status(db: str) -> None:
    """Count the cells of a database by task, method, budget and status.

    \b
    Example:
      bnnbench status --db results.db
    """
    from bnnbench.store.store import ResultStore

    columns = ["task", "method", "config", "budget", "status"]
    with ResultStore(db, read_only=True) as store:
        attempts: Any = store.attempts()
        running: Any = store.running()
    if attempts.empty and running.empty:
        click.echo(f"{db} holds no results yet.")
        return
    counts = attempts.groupby(columns, sort=False).size().reset_index(name="cells")
    _table([*columns, "cells"], list(counts.itertuples(index=False, name=None)))
    click.echo(f"{len(attempts)} cells stored, {len(running)} being trained.")


@main.command()
@click.argument("cell")
@db_option
def show(cell: str, db: str) -> None:
    """Show one cell: identity, provenance, what became of it, and its scores.

    CELL is the fingerprint, or a unique beginning of it (the last column of `bnnbench export`).

    \b
    Example:
      bnnbench show 3fa94c --db results.db
    """
    from bnnbench.store.store import ResultStore

    with ResultStore(db, read_only=True) as store:
        info = store.find(cell)
        sessions = store.sessions()
        scores: Any = store.scores(fingerprint=info["fingerprint"], latest_only=False)
    for name, value in info.items():
        click.echo(f"{name:>16}  {value}")
    for _, row in sessions[sessions["id"] == info["session"]].iterrows():
        for name in ("command", "revision", "device", "threads", "versions"):
            click.echo(f"{name:>16}  {row[name]}")
    rows = [(r.evaluation, r.metric, f"{r.value:.5g}", f"{r.stderr:.2g}") for r in scores.itertuples() if r.metric]
    _table(["evaluation", "metric", "value", "stderr"], rows)


@main.command()
@db_option
@click.option("--format", "format_", default="csv", show_default=True, help="csv, parquet or json.")
@click.option("--out", type=click.Path(path_type=Path), help="File to write; default standard output.")
def export(db: str, format_: str, out: Path | None) -> None:
    """Write all scores as one tidy table.

    \b
    Example:
      bnnbench export --format csv --out scores.csv
    """
    from bnnbench.store.export import export as write
    from bnnbench.store.store import ResultStore

    with ResultStore(db, read_only=True) as store:
        write(store, format_, out)


@main.group()
def data() -> None:
    """List, fetch, verify or import the data sets.

    \b
    Example:
      bnnbench data list
    """


@data.command("list")
@data_option
def data_list(data_dir: Path | None) -> None:
    """Show every data set with its source, and whether it is there.

    \b
    Example:
      bnnbench data list
    """
    from bnnbench.tasks.card import card, names
    from bnnbench.tasks.files import data_root, present

    root = data_root(data_dir)
    rows = []
    for c in map(card, names()):
        inputs = " x ".join(map(str, c.shape)) or len(c.columns)
        rows.append((c.name, c.rows, inputs, "present" if present(c, root) else "missing", c.source))
    _table(["data set", "rows", "inputs", "state", "source"], rows)
    click.echo(f"Data root: {root}")


@data.command("fetch")
@click.argument("names", nargs=-1, required=True)
@data_option
@click.option("--force", is_flag=True, help="Fetch again what is there.")
def data_fetch(names: tuple[str, ...], data_dir: Path | None, force: bool) -> None:
    """Download data sets, check them, and move them into place whole.

    \b
    Example:
      bnnbench data fetch housing yacht
    """
    from bnnbench.tasks.card import card
    from bnnbench.tasks.download import fetch
    from bnnbench.tasks.files import data_root

    for entry in [card(name) for name in names]:
        fetch(entry, data_root(data_dir), force=force)
        click.echo(f"{entry.name}: ok")


@data.command("verify")
@data_option
def data_verify(data_dir: Path | None) -> None:
    """Check every file of every data set against its checksum; status 1 if one is corrupt.

    \b
    Example:
      bnnbench data verify
    """
    from bnnbench.tasks.files import data_root, verify

    states = verify(data_root(data_dir))
    _table(["data set", "state", "files", "missing or corrupt", "where"], [
        (s.name, s.state, s.files, ", ".join(s.bad[:3]) + (" ..." if len(s.bad) > 3 else ""), s.folder) for s in states
    ])  # fmt: skip
    if any(state.state == "corrupt" for state in states):
        sys.exit(1)


@data.command("import")
@click.argument("name")
@click.argument("path", type=click.Path(path_type=Path))
@data_option
def data_import(name: str, path: Path, data_dir: Path | None) -> None:
    """Take a data set from a local folder, archive or file; its checksums are verified first.

    \b
    Example:
      bnnbench data import housing ~/downloads/bostonHousing
    """
    from bnnbench.tasks.card import card
    from bnnbench.tasks.files import data_root
    from bnnbench.tasks.local import import_local

    import_local(card(name), path, data_root(data_dir))
    click.echo(f"{name}: ok")


def _table(header: list[str], rows: Any) -> None:
    """A table on standard output; as wide as it needs where the output is no terminal."""
    from bnnbench.summary import print_table

    print_table(header, rows)
