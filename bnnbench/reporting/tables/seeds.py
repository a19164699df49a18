"""How much does another seed change? On data sets with one split, of which several seeds were trained."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pandas as pd

from bnnbench import names
from bnnbench.reporting.select import Section, Selection
from bnnbench.reporting.statistics import known_mean
from bnnbench.reporting.tables.grid import Grid
from bnnbench.reporting.tables.table import Table
from bnnbench.reporting.tables.text import number, significant, words

METRICS = ("log_likelihood", "error", "rmse")
CAPTION = (
    "Mean over seeds, standard deviation between them, and its ratio to the standard error over the test points of one "
    "network. A ratio above 1: which seed it was matters more than which test points. A standard deviation of three "
    "seeds is itself known to about half of it."
)


def seed_tables(selection: Selection, section: Section) -> Iterator[Table]:
    """One table, if any method has several seeds on a data set with one split."""
    del selection
    records = list(_records(section))
    if records:
        header = ["method", "data set", "metric", "seeds", "mean", "between seeds", "/ over points"]
        grid = Grid.of_texts(header, [_texts(record) for record in records])
        title = f"{section.group}: how much does another seed change?"
        yield Table(f"{section.name}-seeds", title, grid, CAPTION, pd.DataFrame(records))


def _records(section: Section) -> Iterator[dict[str, Any]]:
    test = section.scores[section.scores["evaluation"] == names.TEST]
    own = {key: part for key, part in test.groupby(["row", "task", "metric"])}
    for row in section.rows:
        for task in section.tasks:
            for metric in METRICS:
                part = own.get((row, task, metric))
                if part is not None and part["index"].nunique() == 1 and part["seed"].nunique() > 1:
                    between, points = float(part["value"].std(ddof=1)), known_mean(part["stderr"].to_numpy(float))
                    yield {
                        "method": row,
                        "task": task,
                        "metric": metric,
                        "seeds": part["seed"].nunique(),
                        "mean": float(part["value"].mean()),
                        "sd_between_seeds": between,
                        "se_over_points": points,
                        "ratio": between / points if points > 0 else float("nan"),
                    }


def _texts(record: dict[str, Any]) -> list[str]:
    return [
        record["method"],
        record["task"],
        words(record["metric"]),
        str(record["seeds"]),
        significant(record["mean"]),
        significant(record["sd_between_seeds"]),
        number(record["ratio"], 1),
    ]
