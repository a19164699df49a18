"""Violins of class probabilities of one digit, rotated further and further: methods down, angles across."""

from __future__ import annotations

from bnnbench.names import ROTATED_DIGIT
from bnnbench.reporting.figures.digit import DEGREES, panel
from bnnbench.reporting.figures.families import contrast
from bnnbench.reporting.figures.paper.asked import Asked, Found, found
from bnnbench.reporting.figures.paper.sheet import Sheet, panels
from bnnbench.reporting.figures.paper.words import conditions
from bnnbench.reporting.figures.text import name_lines

WIDE = 0.62  # inches of a panel at a font of 8 points


def find(asked: Asked) -> Found:
    """Quantiles of the first seed."""
    return found(asked, {key: cells[0] for key, cells in asked.gathered("violins", ROTATED_DIGIT).items()})


def draw(asked: Asked, there: Found) -> Sheet:
    """As many angles, evenly spaced, as have room."""
    (task,), size = there.tasks, asked.size
    angles = sorted({int(p) for series in there.data.values() for p in series["point"]})
    room = max(1, int((size.width - 0.4) / (WIDE * size.font / 8)))
    angles = angles[:: -(-len(angles) // room)]
    figure, lines = panels(size, len(there.rows), len(angles), 1.35, 0.25, sharex=True, sharey=True)
    for line, row in zip(lines, there.rows, strict=True):
        color = contrast(row, asked.styles)
        for axes, point in zip(line, angles, strict=True):
            panel(axes, there.data[row, task], point, color)
        line[0].set_ylabel(name_lines(row, 1.2, size.font), color=color, fontweight="bold")
    for axes, point in zip(lines[0], angles, strict=True):
        axes.set_title(f"{DEGREES * point}°\n{axes.get_title()}", color=axes.title.get_color())
    lines[0][0].set(xlim=(0, 1), ylim=(9.8, -0.8), xticks=(0, 1), yticks=range(0, 10))
    lines[0][0].set_xticklabels(["0", "1"])
    figure.supxlabel("probability of the class", fontsize=size.font)
    text = (
        f"One test digit of {task}, rotated: the probability of each class over samples of the network; "
        "the lines hold 90 % of them. Above: the most probable class and its mean probability."
    )
    return Sheet(figure, f"{text} {conditions(asked.sections)}")
