"""Commands on whole databases: several into one, two side by side, more scores from what is stored, one file of all."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from bnnbench.cli.common import data_option, db_option, table
from bnnbench.cli.terminal import plain


@click.command()
@click.argument("sources", nargs=-1, required=True)
@click.option("--into", required=True, help="The database written to, new or not; SQLite file or URL.")
@click.option(
    "--prefer", help="Where a cell has other numbers elsewhere, whose count: first, last or newest. Default: refuse."
)
@click.option("--artifacts", metavar="FOLDER", help="Folder of its artifacts, if the database is new.")
@click.option("--dry-run", is_flag=True, help="Show what would be merged, and what contradicts.")
def merge(sources: tuple[str, ...], dry_run: bool, **options: Any) -> None:
    """Write everything that databases, or files of `bnnbench submit`, hold into one database.

    Nothing is written where numbers of one cell contradict each other, unless --prefer says whose count; the others
    stay as history. The sources stay as they are, also those of an older bnnbench.

    \b
    Example:
      bnnbench merge a.db b.db --into all.db
      bnnbench merge theirs.zip --into results.db --prefer first --dry-run
    """
    from bnnbench import api
    from bnnbench.store.conflicts import MergeConflict

    try:
        merged = api.merge(sources, dry_run=dry_run, **options)
    except MergeConflict as error:
        for conflict in error.conflicts:
            click.echo(f"Conflict: {plain(conflict)}", err=True)
        raise
    for conflict in merged.conflicts:
        click.echo(f"Conflict: {plain(conflict)}", err=True)
    for warning in merged.warnings:
        click.echo(f"Warning: {warning}", err=True)
    table(["source", "cells", "new", "new attempts", "more evaluations", "artifacts"], merged.rows())
    click.echo(merged)


@click.command()
@click.argument("methods", nargs=-1)
@db_option
@click.option("--against", help="Another database: the methods named, or all, of the two side by side.")
@click.option("--task", "--tasks", "tasks", help="Names or groups, with commas; default everything that both have.")
@click.option("--metric", "--metrics", "metrics", help="Names, with commas; default those of the main tables.")
@click.option("--budget", help="smoke, quick, full or long; default the largest that both have.")
@click.option("--split-rule", help="Split rule; default all that both have.")
@click.option("--evaluation", default="test", show_default=True, help="The test set.")
@click.option("--format", "format_", help="md, csv or json on standard output, in place of the table.")
def compare(methods: tuple[str, ...], format_: str | None, **options: Any) -> None:
    """Compare two methods of a database, or methods of two databases, cell by cell.

    METHODS are rows as in reports, `sgld` or `"sgld [lr=0.01]"`: two, or with --against any number. Differences are
    positive where the first (or --db) is better. Their 95 % intervals correct for splits that share training rows; the
    verdict is that of the test behind the bold numbers of reports.

    \b
    Example:
      bnnbench compare swag map --task uci --metric log_likelihood
      bnnbench compare map --db old.db --against new.db --format csv
    """
    from bnnbench import api
    from bnnbench.cli.comparisons import as_csv, as_json, as_markdown, columns, sides
    from bnnbench.errors import UserError

    forms = {"md": as_markdown, "csv": as_csv, "json": as_json}
    if format_ is not None and format_ not in forms:
        raise UserError(f"There is no format {format_!r}; choose from {', '.join(forms)}.")
    found = api.compare(*methods, **options)
    if format_ is not None:
        click.echo(forms[format_](found), nl=False)
    else:
        click.echo("{} (a) beside {} (b); positive differences: a is better.".format(*sides(found)))
        header, *rows = columns(found)
        table(header, rows)
    for note in found.attrs["notes"]:
        click.echo(f"Note: {note}", err=True)


@click.command()
@db_option
@click.option("--task", "--tasks", "tasks", default="all", show_default=True, help="Names or groups, with commas.")
@click.option("--methods", default="all", show_default=True, help="Names or groups, with commas.")
@click.option("--test-sets", default="", help="Further test sets, as of `bnnbench run`.")
@click.option("--calibrate", default="", help="Calibrations: temperature, conformal, or `all`.")
@click.option("--exhaustive", is_flag=True, help="Sweeps of --test-sets over all test images, with all samples.")
@data_option
@click.option("--device", default="auto", show_default=True, help="auto, cpu or cuda.")
@click.option("--threads", type=int, help="CPU threads of a large network; a small one has one.  [default: 2]")
def rescore(**options: Any) -> None:
    """Score what is stored again, without training: new metrics, test sets, calibrations.

    For every stored cell it adds what this bnnbench can give and the cell lacks: metrics that were added since it was
    scored, the test sets and calibrations asked for, distances from the gold standard. They are computed from the
    stored predictive or posterior; no score that is there changes.

    \b
    Example:
      bnnbench rescore --db results.db
      bnnbench rescore --task mnist --methods map,swag --test-sets rotation,kmnist --calibrate all
    """
    from bnnbench import api

    found = api.rescore(quiet=False, **options)
    for warning in found.warnings:
        click.echo(f"Warning: {warning}", err=True)
    click.echo(found)


@click.command()
@db_option
@click.option("--out", required=True, help="File to write: NAME.json, or NAME.zip with the predictives.")
@click.option("--methods", help="Names, with commas; default everything stored.")
@click.option("--task", "--tasks", "tasks", help="Names, with commas; default everything stored.")
@click.option("--budget", help="smoke, quick, full or long; default everything stored.")
def submit(out: str, **options: Any) -> None:
    """Write results into one file, to be sent to others: scores, curves, provenance, checksums of predictives.

    Exit status 2 if `bnnbench validate` would find a fault in it.

    \b
    Example:
      bnnbench submit --db mine.db --methods map --out map.zip
    """
    from bnnbench import api

    faults = api.submit(out=out, **options)
    click.echo(f"Wrote {out}.")
    _tell(out, faults)


@click.command()
@click.argument("file")
@data_option
def validate(file: str, data_dir: Path | None) -> None:
    """Check a file of `bnnbench submit`; exit status 2 if anything is wrong with it.

    \b
    Example:
      bnnbench validate map.zip
    """
    from bnnbench import api

    _tell(file, api.validate(file, data_dir))
    click.echo(f"{file} is valid.")


def _tell(file: str, faults: list[str]) -> None:
    """Show faults and end with status 2, if there are any."""
    for fault in faults:
        click.echo(f"Fault: {plain(fault)}", err=True)
    if faults:
        raise click.ClickException(
            f"{file} has {len(faults):,} fault{'s' * (len(faults) > 1)}; `bnnbench merge` does not take it."
        )
