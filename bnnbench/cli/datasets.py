"""Commands on the data sets."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from bnnbench.cli.common import data_option, table


@click.group()
def data() -> None:
    """List, fetch, verify or import the data sets, and add tables of your own.

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
    from bnnbench.data.cards import card, names
    from bnnbench.data.files import data_root, present
    from bnnbench.data.own import own_cards

    root = data_root(data_dir)
    rows = []
    for c in [*map(card, names()), *own_cards(root)]:
        inputs = " x ".join(map(str, c.shape)) or len(c.columns)
        rows.append((c.name, c.rows, inputs, "present" if present(c, root) else "missing", c.source))
    table(["data set", "rows", "inputs", "state", "source"], rows)
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
    from bnnbench.data.cards import card
    from bnnbench.data.download import fetch
    from bnnbench.data.files import data_root

    for entry in [card(name) for name in dict.fromkeys(names)]:
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
    from bnnbench.data.files import data_root, verify
    from bnnbench.data.own import own_states

    root = data_root(data_dir)
    states = [*verify(root), *own_states(root)]
    table(["data set", "state", "files", "missing or corrupt", "where"], [
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
    from bnnbench.data.cards import card
    from bnnbench.data.files import data_root
    from bnnbench.data.local import import_local

    import_local(card(name), path, data_root(data_dir))
    click.echo(f"{name}: ok")


@data.command("add")
@click.argument("path", type=click.Path(path_type=Path))
@click.option("--target", required=True, help="Name of the column to be predicted.")
@click.option("--kind", help="regression or classification. Default: by the values of the target.")
@click.option("--group", help="Column whose values keep rows together when the table is split.")
@click.option("--time", help="Column of dates or numbers: splits train on the past and test on the future.")
@click.option("--drop", default="", help="Columns to be left out, with commas.")
@click.option("--category", default="", help="Columns that are categories, whatever they look like, with commas.")
@click.option("--number", default="", help="Columns that are numbers, whatever they look like, with commas.")
@click.option("--missing", default="", help="Texts that stand for a missing value, with commas.")
@click.option("--name", default="", help="Name of the task to be. Default: that of the file.")
@click.option("--separator", help="Of the fields. Default: found out.")
@click.option("--decimal", type=click.Choice([".", ","]), help="Decimal mark. Default: found out.")
@click.option("--encoding", help="Of the text, like utf-8 or cp1252. Default: found out.")
@click.option("--dry-run", is_flag=True, help="Show what the columns would become.")
@data_option
def data_add(
    path: Path,
    target: str,
    kind: str | None,
    group: str | None,
    time: str | None,
    name: str,
    missing: str,
    dry_run: bool,
    data_dir: Path | None,
    **more: str,
) -> None:
    """Make a task of a table: CSV (plain or compressed), Parquet or Excel.

    What becomes of each column is shown; nothing is written if something is wrong. Text becomes one column a value, and
    missing values are filled in, by the training rows of each split.

    \b
    Example:
      bnnbench data add houses.csv --target price --drop id --dry-run
      bnnbench data add houses.csv --target price --drop id,remarks --time sold
    """
    from bnnbench.arguments import names_of
    from bnnbench.data.guessing import Wishes
    from bnnbench.data.reading import Form
    from bnnbench.tasks.own import from_file

    lists = (names_of(more.pop(option), f"--{option}") for option in ("drop", "category", "number"))
    wishes = Wishes(target, kind, group, time, *map(tuple, lists))
    form = Form(missing=names_of(missing, "--missing"), **more)
    found = from_file(path, wishes, form, name, data_dir)
    click.echo(f"{found.source}: {len(found.table.data.y)} rows with a target; {found.form}")
    table(["column", "becomes", "missing"], found.table.lines)
    for note in found.table.notes:
        click.echo(note)
    click.echo(f"Split rules, the default first: {', '.join(found.table.rules)}.")
    if not dry_run:
        found.write(data_dir)
        click.echo(f"{found.name}: written. Next: bnnbench run --methods map,ensemble-deep --task {found.name}")


@data.command("remove")
@click.argument("names", nargs=-1, required=True)
@data_option
def data_remove(names: tuple[str, ...], data_dir: Path | None) -> None:
    """Remove tables that `bnnbench data add` made; results in databases stay.

    \b
    Example:
      bnnbench data remove houses
    """
    from bnnbench.data.files import data_root
    from bnnbench.data.own import remove_table

    root = data_root(data_dir)
    for name in dict.fromkeys(names):
        remove_table(root, name)
        click.echo(f"{name}: removed")
