"""Does a method notice images of no known class? How well its entropy tells them from the test images."""

from __future__ import annotations

import math

import pandas as pd

from bnnbench.reporting.extra import Extra
from bnnbench.reporting.images import OUTSIDE, Values, barred, unconverged, values
from bnnbench.reporting.select import Section
from bnnbench.reporting.statistics import Frame
from bnnbench.reporting.tables.grid import EMPTY, UNCONVERGED, Grid, Text, measured

METRICS = {  # name in the table, and which way is better; the entropy alone is neither
    "entropy_total": ("mean entropy", math.nan),
    "auroc_total": ("AUROC total", 1),
    "auroc_epistemic": ("AUROC epistemic", 1),
    "aupr_total": ("AUPR total", 1),
    "fpr95_total": ("FPR95 total", -1),
}
CAPTION = (
    "Test images against images of no known class, told apart by the entropy of the prediction. Mean entropy: that of "
    "the foreign images, in nats, at most the logarithm of the number of classes. AUROC: probability "
    "that the foreign image has the higher entropy (0.5 is guessing, 1 is perfect), by total and by epistemic entropy; "
    "a point estimate has no epistemic entropy, and so 0.5. AUPR: area under precision and recall. FPR95: share of "
    "test images that raise a false alarm where 95 % of the foreign ones are found (0 is perfect). Bold: the best of a "
    "column, baselines and unconverged methods apart."
)


def detection_tables(section: Section) -> list[Extra]:
    """One table a task that was shown foreign images."""
    found = []
    for task in section.tasks:
        numbers = _numbers(values(section, task), section.rows, barred(section, task))
        if len(numbers):
            grid = _grid(numbers, unconverged(section, task))
            name = f"{section.name}-detection-{task}"
            found.append(Extra(name, f"{task}: foreign images", grid, CAPTION, numbers))
    return found


def _numbers(own: Values, rows: tuple[str, ...], out: set[str]) -> Frame:
    """Long form: evaluation, metric, method, value, error, whether it is the best."""
    records = [
        (outside, metric, row, *own[row, outside, metric])
        for outside in OUTSIDE
        for metric in METRICS
        for row in rows
        if (row, outside, metric) in own
    ]
    table: Frame = pd.DataFrame(records, columns=["evaluation", "metric", "method", "value", "stderr"])
    oriented = table["value"] * table["metric"].map({m: better for m, (_, better) in METRICS.items()})
    oriented = oriented.mask(table["method"].isin(out))
    return table.assign(best=oriented == oriented.groupby([table["evaluation"], table["metric"]]).transform("max"))


def _grid(numbers: Frame, doubtful: set[str]) -> Grid:
    present = {(r.evaluation, r.metric, r.method): r for r in numbers.itertuples()}
    columns = [(o, m) for o in OUTSIDE for m in METRICS if any(key[:2] == (o, m) for key in present)]

    def text(row: str, column: tuple[str, str]) -> Text:
        entry = present.get((*column, row))
        if entry is None:
            return EMPTY, False, ""
        return measured(entry.value, entry.stderr), bool(entry.best), UNCONVERGED * (row in doubtful)

    body = tuple((row, tuple(text(row, c) for c in columns)) for row in dict.fromkeys(numbers["method"]))
    return Grid(("method", *(f"{outside}: {METRICS[metric][0]}" for outside, metric in columns)), body)
