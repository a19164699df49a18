"""The figures of density estimation, each with a sentence on what to see."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator

from bnnbench.reporting.figures.calibration import Curves
from bnnbench.reporting.figures.drawn import Drawn
from bnnbench.reporting.figures.flow_densities import TRUTH, densities_figure
from bnnbench.reporting.figures.flow_maps import Series, maps_figure
from bnnbench.reporting.figures.gather import gather
from bnnbench.reporting.figures.style import Look
from bnnbench.reporting.figures.vae_bound import bound_figure, bounds, depth
from bnnbench.reporting.figures.vae_images import digits_figure
from bnnbench.reporting.images import Values, values
from bnnbench.reporting.select import Section, Selection
from bnnbench.reporting.statistics import comparison
from bnnbench.reporting.tables.divergence import floors
from bnnbench.reporting.tables.grid import cell, number

ROWS = 10  # of one figure
SERIES = ("flow_data", "flow_samples", "flow_density", "vae_images")
ENERGY, VAE = "energy-", "mnist-vae"
WHOLE = 0.995  # mass in the box that is said to be all
TEXTS = {
    "maps": "In the middle the noise should look normal: round, densest at zero, all but 1 % within the outer circle "
    "(radius 1, 2, 3); gaps and arms are structure that the flow did not undo. On the right draws should look like the "
    "data on the left; threads between clusters are the price of bending a connected cloud. Left and middle share the "
    "colours of the data's angle; on the right a colour is the angle of the noise that a draw came from.",
    "energies": "Below the truth, each row should repeat it. Colours of a column are the same and rise with the root "
    "of the density, so that bridges between modes can be seen. KL(q‖p) in nats is zero for a perfect fit; it forgives "
    "a mode that is missing more than mass in the wrong place. Mass is the share of the learned density in the box, "
    "where it is not all of it.",
    "densities": "Below the truth, each row should repeat it. Colours of a column are the same and rise with the root "
    "of the density. No nll (nats per point) is below the floor but by chance: the rest is what the flow has not "
    "learnt.",
    "vae-images": "Reconstructions should keep the class and the slant of their originals; samples should be digits, "
    "and as sharp as the originals. Differences between flows are finer than the eye sees: they are in the bound.",
    "vae-bound": "Higher is better. A line that rises with K says that a Gaussian posterior was too simple; the step "
    "from the left panel to the right is how loose the bound still is. The bars are standard errors over test images, "
    "which all methods share: differences are surer than they look.",
    "training-validation": "Of an autoencoder it is the importance-weighted bound with 10 draws, which lies between "
    "the two bounds of the tables.",
}
Rows = dict[str, Series]
Numbers = dict[tuple[str, str], str]  # by row and task, in words


def density_figures(selection: Selection, section: Section, looks: dict[str, Look]) -> Iterator[Drawn]:
    """Those for which the database has data; pictures are of the first seed, numbers are means over seeds."""
    several = section.scores["seed"].nunique() > 1
    which = ", pictures of the first seed" * several
    means = ": means over seeds, pictures of the first" * several
    pictures = {name: _pictures(gather(selection, section, name, "test"), section) for name in SERIES}
    for task in section.tasks:
        own = {name: tasks[task] for name, tasks in pictures.items()}
        yield from _maps(task, own["flow_data"], own["flow_samples"], looks, which)
    grids = {task: rows for task, rows in pictures["flow_density"].items() if rows}
    energies = {task: rows for task, rows in grids.items() if task.startswith(ENERGY)}
    others = {task: rows for task, rows in grids.items() if task not in energies}
    kl, nll = _divergences(selection, section), _losses(selection, section)
    yield from _densities("energies", "Is all of the mass found?", energies, kl, looks, means)
    yield from _densities("densities", "What is learned from points?", others, nll, looks, means)
    if VAE in section.tasks:
        yield from _digits(pictures["vae_images"][VAE], looks, which)
        yield from _bound(values(section, VAE), looks)


def _pictures(curves: Curves, section: Section) -> dict[str, Rows]:
    """First seed by task and row."""
    return {task: {row: cells[0] for (row, where), cells in curves.items() if where == task} for task in section.tasks}


def chosen(rows: Collection[str], looks: dict[str, Look]) -> tuple[list[str], str]:
    """Rows of a figure, a method's by their layers, and a sentence on those for which there is no room."""
    present = [row for row in looks if row in rows]
    kept = sorted(present, key=lambda row: " [" in row)[:ROWS]  # every method once before configurations
    methods = list(dict.fromkeys(map(_method, present)))
    left = [row for row in present if row not in kept]
    told = f" Left out for want of room: {', '.join(left)}." * bool(left)
    return sorted(kept, key=lambda row: (methods.index(_method(row)), _layers(row))), told


def _method(row: str) -> str:
    return row.partition(" [")[0]


def _layers(row: str) -> int:
    match = re.search(r"\blayers=(\d+)", row)
    return int(match[1]) if match else depth(row) or 0


def _maps(task: str, data: Rows, draws: Rows, looks: dict[str, Look], which: str) -> Iterator[Drawn]:
    rows, told = chosen(data, looks)
    if rows:
        title = f"Does the noise look normal, and do the draws look like the data? ({task}{which})"
        alt = f"Test data of {task}, the same as noise, and draws of {len(rows)} methods, coloured by angle."
        yield Drawn(f"maps-{task}", alt, TEXTS["maps"] + told, maps_figure(rows, data, draws, looks, title))


def _densities(
    name: str, title: str, grids: dict[str, Rows], numbers: Numbers, looks: dict[str, Look], which: str
) -> Iterator[Drawn]:
    rows, told = chosen({row for own in grids.values() for row in own}, looks)
    if rows:
        alt = f"True and learned densities of {len(rows)} methods on {', '.join(grids)}."
        title += f" True and learned densities (numbers in nats{which})"
        figure = densities_figure(grids, rows, numbers, looks, title)
        yield Drawn(name, alt, TEXTS[name] + told, figure)


def _table(selection: Selection, section: Section, metric: str, evaluation: str) -> Numbers:
    """The texts of the metric's table without their errors, by row and task."""
    rows, tasks = list(section.rows), list(section.tasks)
    table = comparison(section.scores, metric, evaluation, selection.metric(metric)[0], rows, tasks)
    return {key: cell(entry)[0].partition(" ± ")[0] for key, entry in table.entries.items() if entry.n}


def _divergences(selection: Selection, section: Section) -> Numbers:
    """KL of the grid, with the mass on it where some is missing."""
    found = {}
    for (row, task), text in _table(selection, section, "kl_reverse", "grid").items():
        mass = values(section, task).get((row, "grid", "mass"), (1.0, 0.0))[0]
        found[row, task] = f"KL = {text}" + f", mass {number(mass, 2)}" * (mass < WHOLE)
    return found


def _losses(selection: Selection, section: Section) -> Numbers:
    """Nats per point, and those of the truth itself."""
    found = {key: f"nll = {text}" for key, text in _table(selection, section, "nll", "test").items()}
    return found | {(TRUTH, task): f"floor = {text}" for task, text in floors(section).items()}


def _digits(images: Rows, looks: dict[str, Look], which: str) -> Iterator[Drawn]:
    rows, told = chosen(images, looks)
    if rows:
        title = f"What comes out of the autoencoder? ({VAE}{which})"
        alt = f"Original digits, their reconstructions, and samples of {len(rows)} methods on {VAE}."
        figure = digits_figure({row: images[row] for row in rows}, looks, title)
        yield Drawn("vae-images", alt, TEXTS["vae-images"] + told, figure)


def _bound(own: Values, looks: dict[str, Look]) -> Iterator[Drawn]:
    if found := bounds(own, list(looks)):
        rows = {row for scores in found.values() for row in scores}
        title = f"Is a richer posterior worth its layers? Bounds on the log-likelihood of test images ({VAE})"
        alt = f"ELBO and importance-weighted log-likelihood of {len(rows)} methods on {VAE} by number of planar layers."
        yield Drawn("vae-bound", alt, TEXTS["vae-bound"], bound_figure(found, looks, title))
