"""Out-of-distribution detection: does a method's entropy separate inputs of no known class from the test rows?"""

from __future__ import annotations

from collections.abc import Iterator

from bnnbench.reporting.averages import averages, judged, ordered, out_of_distribution
from bnnbench.reporting.select import Section, Selection
from bnnbench.reporting.tables.grid import Grid
from bnnbench.reporting.tables.table import Table

METRICS = {
    "entropy_total": "mean entropy",
    "auroc_total": "AUROC total",
    "auroc_epistemic": "AUROC epistemic",
    "aupr_total": "AUPR total",
    "fpr95_total": "FPR95 total",
}
CAPTION = (
    "Test images against out-of-distribution images, those of no known class, separated by the entropy of the "
    "prediction. Mean entropy: that of the out-of-distribution images, in nats, at most the logarithm of the number "
    "of classes. AUROC: probability that the out-of-distribution image has the higher entropy (0.5 is guessing, 1 is "
    "perfect), by total and by epistemic entropy; a point estimate has no epistemic entropy, and so 0.5. AUPR: area "
    "under precision and recall. FPR95: share of test images that raise a false alarm where 95 % of the "
    "out-of-distribution images are found (0 is perfect). Bold: the best of a column, baselines and unconverged "
    "methods apart."
)


def detection_tables(selection: Selection, section: Section) -> Iterator[Table]:
    """One table a task that was scored on out-of-distribution inputs."""
    for task in section.tasks:
        scores = averages(section, task)
        outside = out_of_distribution(scores)
        own = ordered(scores, evaluation=outside, metric=METRICS, method=section.rows)
        if own.empty:
            continue
        distance = -own["value"] * own["metric"].map(lambda metric: selection.metric(metric).better or float("nan"))
        own = judged(own, distance)
        columns = {(name, metric): f"{name}: {title}" for name in outside for metric, title in METRICS.items()}
        grid = Grid.from_long(own, own["method"].unique(), columns, ("method", "evaluation", "metric"))
        numbers = own[["evaluation", "metric", "method", "value", "stderr", "best"]]
        yield Table(f"{section.name}-detection-{task}", f"{task}: out-of-distribution images", grid, CAPTION, numbers)
