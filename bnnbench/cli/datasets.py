"""Commands on the data sets."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from bnnbench.cli.common import data_option, table


@click.group()
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
    from bnnbench.data.cards import card, names
    from bnnbench.data.files import data_root, present

    root = data_root(data_dir)
    rows = []
    for c in map(card, names()):
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

    states = verify(data_root(data_dir))
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
