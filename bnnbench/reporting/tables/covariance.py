"""What the covariance of the predicted class consists of: noise in the label and disagreement of the samples."""

from __future__ import annotations

import pandas as pd

from bnnbench.reporting.extra import Extra
from bnnbench.reporting.images import Values, values
from bnnbench.reporting.select import Section
from bnnbench.reporting.statistics import Frame
from bnnbench.reporting.tables.grid import EMPTY, Grid, Text, significant

EVALUATIONS = ("test", "kmnist", "notmnist", "rotation-090", "fgsm-0.10")
PARTS = ("aleatoric", "epistemic")
KINDS = {
    "softmax": ("", "softmax probabilities"),
    "normalised": ("_normalised", "softplus-normalised logits"),
}
CAPTION = (
    "Covariance of the class as a one-hot vector, summed over classes and averaged over images (Kwon et al. 2018), "
    "from {what}. Aleatoric: mean of p(1 − p) over posterior samples. Epistemic: variance of p between samples, zero "
    "for a point estimate. A method that knows what it does not know has more epistemic covariance on foreign, "
    "rotated and attacked images than on test images."
)


def covariance_tables(section: Section) -> list[Extra]:
    """Two tables a task: of softmax probabilities, and of normalised logits."""
    found = []
    for task in section.tasks:
        own = values(section, task)
        for kind, (suffix, what) in KINDS.items():
            numbers = _numbers(own, section.rows, suffix)
            if len(numbers):
                name, title = f"{section.name}-covariance-{kind}-{task}", f"{task}: covariance of {what}"
                found.append(Extra(name, title, _grid(numbers), CAPTION.format(what=what), numbers))
    return found


def _numbers(own: Values, rows: tuple[str, ...], suffix: str) -> Frame:
    records = [
        (row, evaluation, part, *own[row, evaluation, f"kwon_{part}{suffix}"])
        for row in rows
        for evaluation in EVALUATIONS
        for part in PARTS
        if (row, evaluation, f"kwon_{part}{suffix}") in own
    ]
    return pd.DataFrame(records, columns=["method", "evaluation", "part", "value", "stderr"])


def _grid(numbers: Frame) -> Grid:
    present = {(r.method, r.evaluation, r.part): float(r.value) for r in numbers.itertuples()}
    columns = [(e, p) for e in EVALUATIONS for p in PARTS if any(key[1:] == (e, p) for key in present)]

    def text(row: str, column: tuple[str, str]) -> Text:
        value = present.get((row, *column))
        return (EMPTY if value is None else significant(value)), False, ""

    body = tuple((row, tuple(text(row, c) for c in columns)) for row in dict.fromkeys(numbers["method"]))
    return Grid(("method", *(f"{evaluation}: {part}" for evaluation, part in columns)), body)
