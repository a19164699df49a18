"""Commands that read: what is registered, and what a database holds."""

from __future__ import annotations

import webbrowser
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import click

from bnnbench.cli.common import data_option, db_option, table
from bnnbench.cli.terminal import ended_by_interrupt, plain
from bnnbench.errors import UserError


@click.command()
@db_option
@click.option("--out", default="reports", show_default=True, help="Folder to write to.")
@click.option("--task", "--tasks", "tasks", help="Names or groups, with commas; default everything stored.")
@click.option("--methods", help="Names, with commas; default everything stored.")
@click.option("--budget", help="smoke, quick, full or long; default `full`, if stored.")
@click.option("--format", "formats", default="html,md,csv,latex", show_default=True, help="Formats, with commas.")
@click.option("--figures", default="svg", show_default=True, help="svg, png, pdf, with commas, or `none`.")
@click.option("--jobs", type=int, help="Processes that draw figures; default one for each core.")
@click.option("--trials", metavar="DB", help="Database of `bnnbench tune`, whose trials get a page.")
def report(**options: Any) -> None:
    """Write pages, comparison tables and figures from a database.

    \b
    Example:
      bnnbench report --db results.db --out reports
      bnnbench report --task uci --figures svg,pdf --out uci
    """
    from bnnbench import api

    written = [Path(path) for path in api.report(**options)]
    first = next((path for path in written if path.name == "index.html"), Path(options["out"]) / "index.md")
    click.echo(f"Wrote {len(written)} files; begin with {first}.")


@click.command("list")
@click.argument("what", type=click.Choice(["methods", "tasks", "test-sets", "metrics", "budgets", "figures"]))
@click.option("--space", is_flag=True, help="Of methods: what `bnnbench tune` chooses, with defaults and ranges.")
@data_option
def list_(what: str, space: bool, data_dir: Path | None) -> None:
    """Show the registered methods, tasks (with tables of your own), families of test sets, metrics, budgets or figures.

    \b
    Example:
      bnnbench list methods
      bnnbench list methods --space
    """
    if space and what != "methods":
        raise UserError(f"--space is of methods, not of {what}; use bnnbench list methods --space.")
    from bnnbench.data.files import data_root
    from bnnbench.tasks.own import own_tasks

    table(*listings(own_tasks(data_root(data_dir)), data_dir)["spaces" if space else what]())


def listings(
    own: Iterable[Any] = (), root: Path | None = None
) -> dict[str, Callable[[], tuple[list[str], list[tuple]]]]:
    """What there is to list -> header and rows; `own` are tasks that are not registered."""

    def methods() -> tuple[list[str], list[tuple]]:
        from bnnbench.methods import METHODS

        header = ["method", "version", "groups", "supports", "citation"]
        return header, [(m.name, m.version, ", ".join(m.tags), ", ".join(m.supports), m.citation) for m in METHODS]

    def spaces() -> tuple[list[str], list[tuple]]:
        from bnnbench.methods import METHODS

        header = ["method", "hyperparameter", "default", "range"]
        return header, [(m.name, field, getattr(m(), field), str(d)) for m in METHODS for field, d in m.space().items()]

    def tasks() -> tuple[list[str], list[tuple]]:
        from bnnbench.tasks import TASKS

        header = ["task", "kind", "groups", "splits", "data"]
        state, known = {True: "present", False: "to be fetched"}, TASKS.extended(own)
        return header, [
            (t.name, t.kind, ", ".join(t.groups), ", ".join(t.rules), state[t.present(root)]) for t in known
        ]

    def test_sets() -> tuple[list[str], list[tuple]]:
        from bnnbench.tasks import TASKS

        known = {family.name: family for task in TASKS for family in task.test_set_families}
        tasks_of = {f: ", ".join(t.name for t in TASKS if f in t.test_set_families) for f in known.values()}
        header, part = ["test sets", "groups", "in all", "tasks"], {True: "no", False: "yes"}
        return header, [(f.name, ", ".join(f.groups), part[f.optional], tasks_of[f]) for f in known.values()]

    def metrics() -> tuple[list[str], list[tuple]]:
        from bnnbench.metrics import METRICS

        arrow = {1: "higher", -1: "lower", 0: ""}
        header = ["metric", "kinds", "better", "unit", "definition"]
        return header, [(m.name, ", ".join(m.kinds), arrow[m.better], m.unit, m.summary) for m in METRICS]

    def budgets() -> tuple[list[str], list[tuple]]:
        from bnnbench.tasks.budget import BUDGETS

        header = ["budget", "gradients per network", "predictive samples", "for"]
        return header, [(b.name, f"{b.steps:,}", b.samples, b.summary) for b in BUDGETS.values()]

    def figures() -> tuple[list[str], list[tuple]]:
        from bnnbench.reporting.figures.paper.catalogue import CHARTS

        header = ["figure", "shows", "needs", "options"]
        return header, [(c.name, c.shows, c.needs, ", ".join(f"--{name}" for name in c.takes)) for c in CHARTS.values()]

    return {
        "methods": methods, "tasks": tasks, "test-sets": test_sets, "metrics": metrics, "budgets": budgets,
        "figures": figures, "spaces": spaces,
    }  # fmt: skip


@click.command()
@db_option
@click.option("--port", default=8000, show_default=True, help="0 for any free one.")
@click.option("--host", default="127.0.0.1", show_default=True, help="Name or address; 0.0.0.0 for other machines too.")
@click.option("--open", "in_browser", is_flag=True, help="Open it in a browser.")
def serve(db: str, in_browser: bool, **place: Any) -> None:
    """Serve the page of `bnnbench report` from a database as it is, while runs go on; Ctrl-C ends it.

    The page says when there are new results, and keeps its view when it is loaded again. The database is only read.

    \b
    Example:
      bnnbench serve --db uci.db --open
    """
    with ended_by_interrupt():
        from bnnbench import api

        with api.serve(db, **place) as server:
            if not server.loopback:
                warning = "everybody who reaches this machine there can read the results; there is no password."
                click.echo(f"Warning: {warning}", err=True)
            click.echo(f"{plain(server.name)} is served at {server.url} until Ctrl-C.")
            if in_browser and not webbrowser.open(server.url):
                click.echo("Warning: No browser could be opened; open this address in one.", err=True)
            server.wait()


@click.command()
@db_option
@click.option(
    "--watch", type=float, is_flag=False, flag_value=2.0, metavar="[SECONDS]",
    help="Show it again every so many seconds (2), with what is being trained, until Ctrl-C.",
)  # fmt: skip
def status(db: str, watch: float | None) -> None:
    """Count the cells of a database by task, method, budget and status.

    \b
    Example:
      bnnbench status --db results.db
      bnnbench status --watch --db results.db
    """
    from bnnbench.store.store import ResultStore

    if watch is not None:
        _watch(db, watch)
        return
    columns = ["task", "method", "config", "budget", "origin", "status"]
    with ResultStore(db, read_only=True) as store:
        attempts: Any = store.attempts(purpose=None)
        running: Any = store.running()
    trial = attempts["purpose"] == "tune"
    attempts = attempts.assign(config=attempts["config"].mask(trial, "trials"))
    if attempts.empty and running.empty:
        click.echo(f"{store.address} holds no results yet.")
        return
    counts = attempts.groupby(columns, sort=False).size().reset_index(name="cells")
    table([*columns, "cells"], list(counts.itertuples(index=False, name=None)))
    click.echo(f"{len(attempts)} cells stored, {len(running)} being trained.")


def _watch(db: str, seconds: float) -> None:
    with ended_by_interrupt():
        from bnnbench.arguments import amount_of
        from bnnbench.cli.watching import LEAST_S, MOST_S, watch

        if not LEAST_S <= amount_of(seconds, "--watch", "seconds") <= MOST_S:
            raise UserError(f"--watch must lie between {LEAST_S:g} and {MOST_S:,.0f} seconds, not {seconds:g}.")
        watch(db, seconds)


@click.command()
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
    table(["evaluation", "metric", "value", "stderr"], rows)


@click.command()
@db_option
@click.option("--format", "format_", help="csv, parquet or json; default what --out ends in, else csv.")
@click.option("--out", type=click.Path(path_type=Path), help="File to write; default standard output.")
def export(db: str, format_: str | None, out: Path | None) -> None:
    """Write all scores as one tidy table.

    \b
    Example:
      bnnbench export --out scores.csv
    """
    from bnnbench.arguments import file_of
    from bnnbench.store.export import export as write
    from bnnbench.store.store import ResultStore

    place = None if out is None else file_of(out, "--out")
    with ResultStore(db, read_only=True) as store:
        write(store, format_, place)


@click.command()
@db_option
@click.option("--out", required=True, help="Folder to write to.")
def certified(db: str, out: str) -> None:
    """Write certified posteriors as files, one a task of the group `fidelity`.

    A file holds the predictive distribution of the run at the test rows, thinned, with its certificate and provenance.
    Those that come with bnnbench were made so: docs/fidelity.md.

    \b
    Example:
      bnnbench certified --db hmc.db --out posteriors
    """
    from bnnbench.experiment.library import export_certified
    from bnnbench.store.store import ResultStore

    with ResultStore(db, read_only=True) as store:
        written = export_certified(store, Path(out))
    size = sum(path.stat().st_size for path in written)
    click.echo(f"Wrote {len(written)} posteriors, {size / 1e6:.2f} MB: {', '.join(path.stem for path in written)}.")


@click.command()
@db_option
@click.option("--superseded", is_flag=True, help="Cells of versions and defaults that newer ones supersede.")
@click.option("--artifacts", is_flag=True, help="Posteriors and predictive samples of all cells; scores stay.")
@click.option(
    "--secondary", is_flag=True, help="Scores of training and validation rows in metrics that are no headline."
)
@click.option("--dry-run", is_flag=True, help="Show what would be forgotten.")
def forget(dry_run: bool, **options: Any) -> None:
    """Drop results that no report shows, or stored arrays, from a database and its folder of artifacts.

    It refuses while another process trains what is to go. An SQLite file shrinks. Make a copy first: there is no way
    back.

    \b
    Example:
      bnnbench forget --superseded --dry-run --db results.db
      bnnbench forget --superseded --artifacts --secondary --db results.db
    """
    from bnnbench import api

    found = api.forget(dry_run=dry_run, **options)
    if dry_run and len(found.cells):
        table(list(found.cells.columns), found.cells.itertuples(index=False, name=None))
    click.echo(found)
