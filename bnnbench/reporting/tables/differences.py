"""Paired differences of two methods as a table: a row a pair, a column a data set."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import pandas as pd

from bnnbench.reporting.statistics import Frame
from bnnbench.reporting.tables.grid import Grid
from bnnbench.reporting.tables.text import number, significant

APART = ("better", "worse")  # verdicts of two that can be told apart
DIFFERENCES = (
    "Mean over splits of the paired differences, with the sign that makes positive better, and their 95 % interval "
    "(corrected resampled t-test, Nadeau & Bengio 2003). Bold: the two can be told apart, by the test of the bold "
    "numbers elsewhere, which needs more than a few splits."
)


def difference_grid(lines: Frame, rows: Frame) -> Grid:
    """A table of lines as of `paired.differences`; `rows` names each line's row."""
    texts = pd.DataFrame(
        {
            "method": rows,
            "column": places_of(lines),
            "text": [interval_text(line) for line in lines.to_dict("records")],
            "best": lines["verdict"].isin(APART),
        }
    )
    columns = {place: place for place in dict.fromkeys(texts["column"])}
    return Grid.from_long(texts, list(dict.fromkeys(texts["method"])), columns)


def places_of(lines: Frame) -> Frame:
    """Names of data sets, with their split rule where one has several."""
    several = lines.groupby("task")["split_rule"].transform("nunique") > 1
    return lines["task"].where(~several, lines["task"] + " " + lines["split_rule"])


def interval_text(line: Mapping[str, Any], middle: str = "difference") -> str:
    """`0.012 [−0.003, 0.027]`, to two digits of half the interval; `−1.91e+09` where a training has exploded."""
    value, low, high = (float(line[name]) for name in (middle, "low", "high"))
    if not math.isfinite(high - low) or high == low:
        return significant(value)
    power = math.floor(math.log10((high - low) / 2))
    texts = [significant(x) if power > 4 else number(x, max(0, 1 - power)) for x in (value, low, high)]
    return "{} [{}, {}]".format(*texts)
