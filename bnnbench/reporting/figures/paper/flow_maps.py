"""Test data as noise and noise as samples, one line a method."""

from __future__ import annotations

from bnnbench.names import TEST
from bnnbench.reporting.figures.flow_maps import angle, blank, cloud, pair, two_ways, window
from bnnbench.reporting.figures.paper.asked import Asked, Found, found
from bnnbench.reporting.figures.paper.sheet import Sheet, panels
from bnnbench.reporting.figures.paper.size import Size
from bnnbench.reporting.figures.paper.words import conditions
from bnnbench.reporting.figures.text import name_lines

COLUMNS = ("data x", "data as noise z", "samples x")
TITLES, SMALLEST = 0.25, 0.9  # inches at a font of 8 points: of the titles, of a panel


def _side(size: Size, down: int) -> float:
    """Inches of a panel at a font of 8 points: as wide as there is room, or as high."""
    points = size.font / 8
    return max(SMALLEST, min((size.width / points - 0.5) / 3, (size.tallest / points - TITLES) / down))


def find(asked: Asked) -> Found:
    """Points of the first seed, of test data and of samples."""
    draws = asked.gathered("flow_samples", TEST)
    data = asked.gathered("flow_data", TEST)
    return found(asked, {key: (cells[0], (draws.get(key) or [None])[0]) for key, cells in data.items()})


def draw(asked: Asked, there: Found) -> Sheet:
    """All x in one window."""
    (task,), size = there.tasks, asked.size
    clouds = {row: there.data[row, task] for row in there.rows}
    each = _side(size, len(there.rows))
    figure, lines = panels(size, len(there.rows), 3, each, TITLES, sharex="col")
    seen = window([data for data, _ in clouds.values()])
    for line, (row, (data, draws)) in zip(lines, clouds.items(), strict=True):
        two_ways(line[0], line[1], data, seen)
        if draws is None:
            blank(line[2])
        else:
            cloud(line[2], pair(draws, "x"), angle(pair(draws, "z")), seen)
        line[0].set_ylabel(name_lines(row, each, size.font), color=asked.styles[row].color, fontweight="bold")
    for axes, name in zip(lines[0], COLUMNS, strict=True):
        axes.set_title(name)
    text = (
        f"Flows on {task}: test data, the same points as noise (circles: radius 1, 2, 3), and samples. Left and middle "
        "share the colours of the data's angle; on the right a colour is the angle of the noise behind a sample."
    )
    return Sheet(figure, f"{text} {conditions(asked.sections)}")
