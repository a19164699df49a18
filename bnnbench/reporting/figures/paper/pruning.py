"""Scores without the weights that are least sure, one panel a data set."""

from __future__ import annotations

from bnnbench.reporting.figures.paper.asked import Asked, Found, found
from bnnbench.reporting.figures.paper.sheet import Sheet, grid_of, handle, laid_out, panels, titled
from bnnbench.reporting.figures.paper.words import conditions
from bnnbench.reporting.figures.pruning import METRICS, RATIO, mark_removed, panel, pruned
from bnnbench.reporting.tables.text import words


def find(asked: Asked) -> Found:
    """Changes by the metric asked for, or by the first that there is."""
    metric = metric_of(asked)
    return found(asked, asked.joined(lambda _, section: pruned(section, metric)) if metric else {})


def metric_of(asked: Asked) -> str:
    """Empty where nothing was pruned."""
    known = [m for m in METRICS if any(pruned(section, m) for section in asked.sections)]
    return asked.metric_of(METRICS, known) if known else ""


def draw(asked: Asked, there: Found) -> Sheet:
    """The axis is logarithmic in the weights kept."""
    metric, size = metric_of(asked), asked.size
    down, across = grid_of(size, len(there.tasks), min(size.across, 3))
    wide = (size.width - 0.4 * size.font / 8) / across
    figure, lines = panels(size, down, across, 1.9 if len(there.tasks) == 1 else 1.5, 0.1, sharex=True)
    for (axes, leftmost, lowest), task in zip(laid_out(lines, len(there.tasks)), there.tasks, strict=False):
        own = {row: there.data[row, task] for row in there.rows if (row, task) in there.data}
        panel(axes, own, metric, asked.styles)
        titled(axes, task, size, wide)
        axes.tick_params(labelbottom=lowest)
        if leftmost:
            axes.set_ylabel(f"{words(metric)} / unpruned" if metric in RATIO else f"Δ {words(metric)}")
        if lowest:
            axes.set_xlabel("weights removed")
    last = max(float(fraction.max()) for fraction, _ in there.data.values())
    mark_removed(lines[0][0], last, 0.07 * size.small / wide)  # of all panels, which share the axis
    text = (
        f"Change of the test {words(metric)} when the weights of least |mean| / sd are set to zero, mean over splits."
    )
    handles = [handle(row, asked.styles[row], asked.size) for row in there.rows]
    return Sheet(figure, f"{text} {conditions(asked.sections)}", handles)
