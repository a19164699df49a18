"""What each method believes of a function of one input, one panel a method."""

from __future__ import annotations

from bnnbench.reporting.figures.paper.asked import Asked, Found, found
from bnnbench.reporting.figures.paper.sheet import Sheet, grid_of, laid_out, panels, titled
from bnnbench.reporting.figures.paper.words import conditions
from bnnbench.reporting.figures.toy import (
    EXACT,
    EXACT_STYLE,
    exact_bands,
    function_band,
    legend,
    limits,
    panel,
    toy_bands,
)


def find(asked: Asked) -> Found:
    """Bands of the first seed."""
    return found(asked, {key: cells[0] for key, cells in asked.joined(toy_bands).items()})


def draw(asked: Asked, there: Found) -> Sheet:
    """The exact posterior first, where it is known; axes are shared."""
    (task,), size = there.tasks, asked.size
    exact = asked.joined(exact_bands).get(task)
    pictures = ({EXACT: exact} if exact else {}) | {row: there.data[row, task] for row in there.rows}
    styles = asked.styles | {EXACT: EXACT_STYLE}
    down, across = grid_of(size, len(pictures))
    figure, lines = panels(size, down, across, 1.15, 0.2, sharex=True, sharey=True)
    for (axes, leftmost, lowest), (row, picture) in zip(laid_out(lines, len(pictures)), pictures.items(), strict=False):
        panel(axes, picture, styles[row])
        if row == EXACT:
            function_band(axes, picture.bands)
        titled(axes, row, size, (size.width - 0.4) / across, styles[row].color)
        axes.tick_params(labelbottom=lowest)
        if lowest:
            axes.set_xlabel("input x")
        if leftmost:
            axes.set_ylabel("target y")
    lines[0][0].set_ylim(*limits(pictures))
    handles = legend(any("truth" in picture.bands for picture in pictures.values()), exact is not None)
    return Sheet(figure, f"Predictive distributions on {task}, first seed. {conditions(asked.sections)}", handles)
