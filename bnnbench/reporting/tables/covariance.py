"""What the covariance of the predicted class consists of: noise in the label and disagreement of the samples."""

from __future__ import annotations

from collections.abc import Iterator

from bnnbench import names
from bnnbench.reporting.averages import averages, ordered, out_of_distribution
from bnnbench.reporting.select import Section, Selection
from bnnbench.reporting.tables.grid import Grid
from bnnbench.reporting.tables.table import Table
from bnnbench.reporting.tables.text import significant

PARTS = ("aleatoric", "epistemic")
PROBABILITIES = {  # of the class -> ending of the metrics' names, and their name
    "softmax": ("", "softmax probabilities"),
    "normalised": ("_normalised", "softplus-normalised logits"),
}
CAPTION = (
    "Covariance of the class as a one-hot vector, summed over classes and averaged over images (Kwon et al. 2018), "
    "from {what}. Aleatoric: mean of p(1 − p) over posterior samples. Epistemic: variance of p between samples, zero "
    "for a point estimate. A method that knows what it does not know has more epistemic covariance on "
    "out-of-distribution, rotated and attacked images than on test images."
)


def covariance_tables(selection: Selection, section: Section) -> Iterator[Table]:
    """Two tables a task: of softmax probabilities, and of normalised logits."""
    for task in section.tasks:
        scores = averages(section, task)
        shown = (names.TEST, *out_of_distribution(scores), names.rotation(90), names.attack("fgsm", 0.1))
        columns = {(name, part): f"{name}: {part}" for name in shown for part in PARTS}
        for kind, (ending, what) in PROBABILITIES.items():
            part = scores["metric"].map({f"kwon_{part}{ending}": part for part in PARTS})
            numbers = ordered(scores.assign(part=part), method=section.rows, evaluation=shown, part=PARTS)
            if numbers.empty:
                continue
            place = ("method", "evaluation", "part")
            grid = Grid.from_long(
                numbers, section.rows, columns, place, lambda line: (significant(line["value"]), False, "")
            )
            name, title = f"{section.name}-covariance-{kind}-{task}", f"{task}: covariance of {what}"
            yield Table(name, title, grid, CAPTION.format(what=what), numbers[[*place, "value", "stderr"]])
