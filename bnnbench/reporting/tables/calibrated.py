"""Calibration after training: what does temperature scaling bring, and what do intervals and sets cost that hold?"""

from __future__ import annotations

from collections.abc import Iterator

import pandas as pd

from bnnbench import names
from bnnbench.reporting.comparison import Comparison
from bnnbench.reporting.points import compared
from bnnbench.reporting.select import Section, Selection
from bnnbench.reporting.tables.grid import Grid
from bnnbench.reporting.tables.table import Table
from bnnbench.reporting.tables.text import cell

SHOWN = {  # calibration -> metric -> title
    "temperature": {
        "log_likelihood": "log-likelihood after temperature scaling",
        "calibration_error": "calibration error after temperature scaling",
        "ece": "ECE after temperature scaling",
    },
    "conformal": {
        "coverage_90": "coverage of conformal 90 % intervals and sets",
        "width_90": "width of conformal 90 % intervals",
        "interval_score_90": "interval score of conformal 90 % intervals",
        "set_size_90": "size of conformal 90 % sets",
    },
}
ABOUT = {
    "temperature": (
        "One number is fitted on the validation rows: the temperature of the mixture's log-probabilities, or of a "
        "regression the factor by which the mixture is stretched about its mean."
    ),
    "conformal": (
        "The method's own 90 % intervals (or sets of classes) are moved by one number until they hold 90 % of the "
        "validation rows. Coverage of 0.90 is right, and where it is the same for all, narrow intervals and small sets "
        "are good."
    ),
}
CAPTION = (
    "{title}, on the test rows, beside that of the predictive as it was trained (plain); mean ± standard error over "
    "splits, or over test points where there is one split. {about} Early stopping and the choice of hyperparameters "
    "have seen the validation rows, too, which makes them a little too easy."
)
NUMBERS = ("mean", "se", "n", "best")  # fields of Entry


def calibrated_tables(selection: Selection, section: Section) -> Iterator[Table]:
    """A table for each calibration and metric that the section has."""
    there = set(section.scores["evaluation"].unique())
    for calibration, metrics in SHOWN.items():
        evaluation = names.calibrated(calibration)
        for metric, title in metrics.items() if evaluation in there else ():
            after = compared(selection, section, metric, evaluation)
            if not after.entries:
                continue
            ways = {"plain": compared(selection, section, metric), calibration: after}
            numbers = _numbers(after.tasks, ways)
            columns = {(task, way): f"{task}: {way}" for task in after.tasks for way in ways}
            there = set(numbers["method"])
            rows = [row for row in after.rows if row in there]
            grid = Grid.from_long(numbers, rows, columns, ("method", "task", "way"), lambda line: cell(line["entry"]))
            caption = CAPTION.format(title=title[0].upper() + title[1:], about=ABOUT[calibration])
            name = f"{section.name}-{calibration}-{metric}"
            yield Table(name, f"{section.group}: {title}", grid, caption, numbers.drop(columns="entry"))


def _numbers(tasks: tuple[str, ...], ways: dict[str, Comparison]) -> pd.DataFrame:
    """A line a method, task and way, of methods that were calibrated there."""
    *_, after = ways.values()
    records = [
        (task, row, way, *(getattr(entry, name) for name in NUMBERS), entry)
        for task in tasks
        for row in after.rows
        for way, table in ways.items()
        if (entry := table.entries.get((row, task))) is not None and entry.n and after.entries[row, task].n
    ]
    return pd.DataFrame(records, columns=["task", "method", "way", *NUMBERS, "entry"])
