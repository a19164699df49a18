"""The figures of density estimation: maps of points, and learned densities under the true ones."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from functools import partial

from bnnbench.names import GRID, TEST
from bnnbench.reporting.averages import averages, look_up
from bnnbench.reporting.comparison import method_of
from bnnbench.reporting.figures.flow_densities import TRUTH, densities_figure
from bnnbench.reporting.figures.flow_maps import maps_figure
from bnnbench.reporting.figures.plot import Plot
from bnnbench.reporting.figures.style import Style
from bnnbench.reporting.gather import Arrays, Curves, gather
from bnnbench.reporting.points import compared
from bnnbench.reporting.select import Section, Selection
from bnnbench.reporting.tables.flows import depth, entropies
from bnnbench.reporting.tables.text import cell, number

ROWS = 10  # of one figure
WHOLE = 0.995  # mass in the box that is said to be all
TEXTS = {
    "maps": "In the middle the noise should look normal: round, densest at zero, all but 1 % within the outer circle "
    "(radius 1, 2, 3); gaps and arms are structure that the flow did not undo. On the right samples should look like "
    "the data on the left; threads between clusters are the price of bending a connected cloud. Left and middle "
    "share the colours of the data's angle; on the right a colour is the angle of the noise that a sample came from.",
    "energies": "Below the truth, each row should repeat it. Colours of a column are the same and rise with the root "
    "of the density, so that bridges between modes can be seen. KL(q‖p) in nats is zero for a perfect match; it "
    "forgives a mode that is missing more than mass in the wrong place. Mass is the share of the learned density in "
    "the box, where it is not all of it.",
    "densities": "Below the truth, each row should repeat it. Colours of a column are the same and rise with the root "
    "of the density. No nll (nats per point) is below the floor but by chance: the rest is what the flow has not "
    "learned.",
}
Rows = dict[str, Arrays]
Numbers = dict[tuple[str, str], str]  # by row and task, in words


def flow_figures(selection: Selection, section: Section, styles: dict[str, Style]) -> Iterator[Plot]:
    """Those for which the database has data; pictures are of the first seed, numbers are means over seeds."""
    names = ("flow_data", "flow_samples", "flow_density")
    data, draws, grids = (pictures(gather(selection, section, name, TEST)) for name in names)
    for task in section.tasks:
        yield from _maps(task, data.get(task, {}), draws.get(task, {}), styles, which(section))
    energies = {task: grids[task] for task in section.tasks if task in grids and task not in data}
    points = {task: grids[task] for task in section.tasks if task in grids and task in data}
    means = ": means over seeds, pictures of the first" * bool(which(section))
    kl, nll = _divergences(selection, section), _losses(selection, section)
    yield from _densities("energies", "Is all of the mass found?", energies, kl, styles, means)
    yield from _densities("densities", "What is learned from points?", points, nll, styles, means)


def which(section: Section) -> str:
    """Said in a title, where there are several seeds."""
    return ", pictures of the first seed" * (section.scores["seed"].nunique() > 1)


def pictures(curves: Curves) -> dict[str, Rows]:
    """First seed by task and row."""
    found: dict[str, Rows] = {}
    for (row, task), cells in curves.items():
        found.setdefault(task, {})[row] = cells[0]
    return found


def chosen(rows: Collection[str], styles: dict[str, Style]) -> tuple[list[str], str]:
    """Rows of a figure, a method's by their layers, and a sentence on those for which there is no room."""
    present = [row for row in styles if row in rows]
    kept = sorted(present, key=lambda row: " [" in row)[:ROWS]  # every method once before configurations
    methods = list(dict.fromkeys(map(method_of, present)))
    left = [row for row in present if row not in kept]
    told = f" Left out for lack of room: {', '.join(left)}." * bool(left)
    return sorted(kept, key=lambda row: (methods.index(method_of(row)), _layers(row))), told


def _layers(row: str) -> int:
    match = re.search(r"\blayers=(\d+)", row)
    return int(match[1]) if match else depth(row) or 0


def _maps(task: str, data: Rows, draws: Rows, styles: dict[str, Style], which: str) -> Iterator[Plot]:
    rows, told = chosen(data, styles)
    if rows:
        title = f"Does the noise look normal, and do the samples look like the data? ({task}{which})"
        alt = f"Test data of {task}, the same as noise, and samples of {len(rows)} methods, coloured by angle."
        yield Plot(f"maps-{task}", alt, TEXTS["maps"] + told, partial(maps_figure, rows, data, draws, styles, title))


def _densities(
    name: str, title: str, grids: dict[str, Rows], numbers: Numbers, styles: dict[str, Style], which: str
) -> Iterator[Plot]:
    rows, told = chosen({row for own in grids.values() for row in own}, styles)
    if rows:
        alt = f"True and learned densities of {len(rows)} methods on {', '.join(grids)}."
        title += f" True and learned densities (numbers in nats{which})"
        figure = partial(densities_figure, grids, rows, numbers, styles, title)
        yield Plot(name, alt, TEXTS[name] + told, figure)


def _table(selection: Selection, section: Section, metric: str, evaluation: str) -> Numbers:
    """The texts of the metric's table without their errors, by row and task."""
    entries = compared(selection, section, metric, evaluation).entries
    return {key: cell(entry)[0].partition(" ± ")[0] for key, entry in entries.items() if entry.n}


def _divergences(selection: Selection, section: Section) -> Numbers:
    """KL of the grid, with the mass on it where some is missing."""
    mass = {task: look_up(averages(section, task), GRID, "mass") for task in section.tasks}
    found = {}
    for (row, task), text in _table(selection, section, "kl_reverse", GRID).items():
        inside = mass[task].get(row, (1.0, 0.0))[0]
        found[row, task] = f"KL = {text}" + f", mass {number(inside, 2)}" * (inside < WHOLE)
    return found


def _losses(selection: Selection, section: Section) -> Numbers:
    """Nats per point, and those of the truth itself."""
    found = {key: f"nll = {text}" for key, text in _table(selection, section, "nll", TEST).items()}
    return found | {(TRUTH, task): f"floor = {text}" for task, text in entropies(section).items()}
