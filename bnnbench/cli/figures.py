"""The command that draws one figure for a paper."""

from __future__ import annotations

from typing import Any

import click

from bnnbench.cli.common import db_option


@click.command()
@click.argument("name")
@db_option
@click.option("--methods", help="Rows as tables call them, with commas; default all.")
@click.option("--task", "--tasks", "tasks", help="Names or groups, with commas; default all.")
@click.option(
    "--size", default="column", show_default=True, help="column (3.3 in), text (6.8 in) or slide (10 x 5.6 in)."
)
@click.option("--out", help="File to write, .pdf, .svg or .png; default NAME.pdf.")
@click.option("--metric", help="Of scores, critical-difference, fidelity and pruning; default the first that is there.")
@click.option("--budget", help="smoke, quick, full or long; default `full`, if stored.")
@click.option("--split-rule", help="Default that of most cells.")
@click.option("--reference", help="Of scores: the method whose line is drawn; default map, if shown.")
def figure(name: str, out: str | None, **options: Any) -> None:
    """Draw one chart for a paper or a slide.

    NAME is a figure of `bnnbench list figures`. A caption is printed, which says what the figure shows.

    \b
    Example:
      bnnbench figure scores --task uci --size text --out scores.pdf
      bnnbench figure rotation --methods map,ensemble-deep --task mnist --out rotation.svg
    """
    from bnnbench import api
    from bnnbench.reporting.figures.paper.catalogue import chart_of

    place = f"{chart_of(name).name}.pdf" if out is None else out
    found = api.figure(name, out=place, **options)
    width, height = found.get_size_inches()
    click.echo(f"Wrote {place}, {width:.1f} x {height:.1f} in. Caption: {found.get_label()}")
