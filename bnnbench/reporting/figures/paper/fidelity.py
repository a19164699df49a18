"""How near to HMC, and on which side: dots of data sets in a lane each, methods down."""

from __future__ import annotations

from dataclasses import replace

from bnnbench.errors import UserError
from bnnbench.reporting.fidelity import Fidelity, fidelity
from bnnbench.reporting.figures.fidelity import LABELS, legend, panel
from bnnbench.reporting.figures.paper.asked import Asked, Found
from bnnbench.reporting.figures.paper.sheet import Sheet, panels
from bnnbench.reporting.figures.paper.words import conditions, counted
from bnnbench.reporting.figures.text import label
from bnnbench.reporting.tables.text import OTHER_TARGET, UNCONVERGED, words

SHORT = {  # of axes that are narrow
    "w1_to_hmc": "W1 distance (sd)",
    "mean_gap": "gap of means (sd)",
    "log_sd_ratio": "log sd ratio",
    "log_epistemic_ratio": "log epistemic ratio",
}


def find(asked: Asked) -> Found:
    """Rows and data sets with their splits, all of one comparison."""
    own = fidelity(asked.selection)
    if own is None:
        return Found({}, (), ())
    metric = asked.metric_of(own.metrics, own.metrics)
    keys = own.own(metric) if asked.metric else {k: v for m in own.metrics for k, v in own.own(m).items()}
    data = dict.fromkeys(keys, own)
    rows, columns = {row for row, _ in data}, {column for _, column in data}
    return Found(data, tuple(r for r in asked.rows if r in rows), tuple(c for c in own.columns if c in columns))


def draw(asked: Asked, there: Found) -> Sheet:
    """One panel a metric, as many as there is room for."""
    own, size = _fidelity(there), asked.size
    metrics = [asked.metric] if asked.metric else _shown(own, size.across)
    ranks = own.ranking().ranks
    rows = [*(r for r in ranks if r in there.rows), *(r for r in there.rows if r not in ranks)]
    pitch = max(0.15, 0.055 * len(there.tasks))
    figure, (line,) = panels(size, 1, len(metrics), 0.65 + pitch * len(rows), 0.1, sharey=True)
    for axes, metric in zip(line, metrics, strict=True):
        signed = not own.metrics[metric].better
        panel(axes, own, metric, rows, asked.styles, signed=signed)
        axes.set_title("← narrow | wide →" if signed else "← nearer", loc="center" if signed else "left")
        axes.set_xlabel(SHORT.get(metric, words(metric)))
    line[0].set_yticks(range(len(rows)), [label(row) + f" {OTHER_TARGET}" * (row in own.other) for row in rows])
    line[0].set_ylim(len(rows) - 0.4, -0.6)
    return Sheet(figure, _caption(asked, own, metrics, bool(ranks)), legend(own, f" {UNCONVERGED}"))


def _fidelity(there: Found) -> Fidelity:
    whole = next(iter(there.data.values()))
    return replace(whole, columns=there.tasks)


def _shown(own: Fidelity, most: int) -> list[str]:
    """Distances first, each followed by a direction: a nearest method and why others are not."""
    distances = [m for m, definition in own.metrics.items() if definition.better]
    directions = [m for m, definition in own.metrics.items() if not definition.better]
    if not distances and not directions:
        raise UserError("There are no comparisons with HMC to draw.")
    chosen = [*distances[:1], *directions[-1:], *distances[1:], *directions[:-1]][:most]
    return [m for m in own.metrics if m in chosen]


def _caption(asked: Asked, own: Fidelity, metrics: list[str], ranked: bool) -> str:
    told = f"Distance of each method's predictive from that of HMC on {counted(len(own.columns), 'data set')}: "
    told += "; ".join(LABELS.get(metric, words(metric)) for metric in metrics) + "."
    told += " Best mean rank on top." * ranked
    told += f" {UNCONVERGED}, hollow: HMC has not converged." * bool(own.flagged & {*own.columns})
    return f"{told} {conditions(asked.sections)}"
