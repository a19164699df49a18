"""Commands for predictions that are made elsewhere: the rows out, the predictions in."""

from __future__ import annotations

from typing import Any

import click

from bnnbench.cli.common import data_option, db_option

rule_option = click.option("--split-rule", help="Split rule, as `bnnbench list tasks` shows. Default: its own.")


@click.command()
@click.argument("task")
@click.option("--out", required=True, help="Folder to write to, new or empty.")
@rule_option
@click.option("--format", "formats", default="npz,csv", show_default=True, help="npz, csv; images are npz alone.")
@click.option("--test-targets", is_flag=True, help="Write the targets of the test rows, too.")
@data_option
def splits(task: str, **options: Any) -> None:
    """Write the splits of a task as files for other programs, in original units and with the ids of the rows.

    Targets of test rows are left out, so that nothing is fitted to them by accident; `bnnbench score` has them.

    \b
    Example:
      bnnbench splits diabetes --out rows
      bnnbench splits yacht --out yacht-gap --split-rule gap --format csv
    """
    from bnnbench import api

    written = api.write_splits(task, **options)
    click.echo(f"Wrote {len(written)} files; begin with {options['out']}/task.json.")


@click.command()
@click.argument("predictions")
@click.option("--task", required=True, help="Name of the task.")
@click.option("--method", required=True, help="Name for the tables; not that of a method of this suite.")
@click.option("--citation", default="", help="Where the method comes from, in a line.")
@click.option("--gradients", type=int, help="Minibatch gradients that each split cost, where that is known.")
@rule_option
@click.option("--splits", "splits_", help="Numbers of the splits to score, with commas. Default: all.")
@click.option(
    "--budget",
    default="quick",
    show_default=True,
    help="Beside which cells they stand: smoke, quick, full or long.",
)
@db_option
@click.option(
    "--artifacts",
    metavar="FOLDER",
    help="Folder or URL (s3://..) of artifacts, stored with the database the first time.",
)
@data_option
@click.option("--force", is_flag=True, help="Score again, and replace other predictions of the same name.")
def score(predictions: str, splits_: str | None, db: str, **options: Any) -> None:
    """Score predictions that were made elsewhere and store them beside trained cells, marked as external.

    PREDICTIONS is a folder with one file a split, named like the split, `10fold-0.npz` or `10fold-0.csv`; or the file
    of one split. The layout of both kinds of files: docs/predictions.md.

    \b
    Example:
      bnnbench score predictions --task diabetes --method my-ridge --citation "Hoerl & Kennard 1970"
      bnnbench score 10fold-0.npz --task diabetes --method my-forest --db mine.db
    """
    from bnnbench import api

    done = api.score(predictions, splits=splits_, db=db, **options)
    counts = [(what, list(done.splits.values()).count(what)) for what in ("scored", "replaced", "unchanged")]
    became = ", ".join(f"{number} {what}" for what, number in counts if number)
    click.echo(f"{done.method} on {done.task}: {became}, as {' and '.join(done.forms)}, at budget {done.budget}.")
    if done.left_out:
        click.echo(f"Left out, for this form does not say it: {', '.join(done.left_out)}.")
    from bnnbench.cli.summary import print_tables

    print_tables(db, done.task, "all", done.budget, done.rule, options["data_dir"])
