"""Tables as text: numbers rounded by their standard error, in Markdown, CSV, LaTeX and plain frames."""

from __future__ import annotations

import math
from collections.abc import Container, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import pandas as pd

from bnnbench.reporting.escape import escape_latex, escape_markdown
from bnnbench.reporting.statistics import Comparison, Entry, Frame, comparison

NAMES = {"log_likelihood": "log-likelihood", "rmse": "RMSE", "crps": "CRPS", "ece": "ECE", "brier": "Brier score"}
NAMES |= {
    "kl_reverse": "KL(q ∥ p)",
    "kl_forward": "KL(p ∥ q)",
    "nll": "NLL",
    "elbo": "ELBO",
    "iw_log_likelihood": "importance-weighted log-likelihood",
}
EMPTY, INCOMPLETE, UNCONVERGED, OTHER_TARGET, WORSE, OLD = "–", "†", "‡", "§", "¶", "°"
CSV = {name: name for name in ("mean", "se", "median", "n_splits", "best", "complete", "unconverged", "other_target")}
CSV |= {"n_splits": "n", "splits_worse_than_baseline": "worse", "splits_judged": "judged"}  # column -> field of Entry
Text: TypeAlias = tuple[str, bool, str]  # text, bold or not, marks


@dataclass(frozen=True)
class Grid:
    """A table as texts: a header and, by name, rows of cells; Markdown and LaTeX are written from it."""

    header: tuple[str, ...]
    rows: tuple[tuple[str, tuple[Text, ...]], ...]


def number(value: float, decimals: int) -> str:
    """A number with a true minus sign; infinities and NaN in words that align."""
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "∞" if value > 0 else "−∞"
    text = f"{value:.{decimals}f}"
    return text.replace("-", "−") if text.strip("-0.") else text.lstrip("-")


def mean_and_error(mean: float, se: float) -> str:
    """`−2.391 ± 0.012`: two significant digits of the standard error; four of the mean where there is no error."""
    exact = not (math.isfinite(se) and se > 1e-12 * abs(mean))  # below it is rounding of equal values
    if not math.isfinite(mean):
        return number(mean, 0)
    scale, digits = (abs(mean), 4) if exact else (se, 2)
    if scale == 0:
        return "0"
    if not exact:
        scale = float(f"{se:.1e}")  # 0.0996 rounds to 0.10: one decimal fewer
    decimals = digits - 1 - math.floor(math.log10(scale))
    if decimals > 8 or (decimals < -4):
        return f"{mean:.3g}".replace("-", "−") + ("" if exact else f" ± {se:.2g}".replace("-", "−"))
    decimals = max(0, decimals)
    return number(mean, decimals) + ("" if exact else f" ± {number(se, decimals)}")


def significant(value: float) -> str:
    """Three significant digits of a number that has no standard error; whole ones from 100 to 100,000."""
    if math.isnan(value):
        return EMPTY
    if not math.isfinite(value) or value == 0:
        return number(value, 0)
    places = 2 - math.floor(math.log10(abs(value)))
    return f"{value:.2e}".replace("-", "−") if not -2 <= places <= 5 else number(value, max(0, places))


def measured(value: float, se: float) -> str:
    """With its standard error where there is one."""
    return significant(value) if math.isnan(se) else mean_and_error(value, se)


def marks(entry: Entry) -> str:
    """Daggers of an entry, the sign of another target, and the splits on which a baseline is better: `¶3/10`."""
    signs = INCOMPLETE * (not entry.complete) + UNCONVERGED * entry.unconverged + OTHER_TARGET * entry.other_target
    return signs + f"{WORSE}{entry.worse}/{entry.judged}" * bool(entry.worse)


def cell(entry: Entry | None) -> Text:
    """Text, bold flag and marks of one cell."""
    if entry is None:
        return EMPTY, False, ""
    text = mean_and_error(entry.mean, entry.se) if entry.n else ""
    return text + f" (median {significant(entry.median)})" * entry.skewed, entry.best, marks(entry)


def words(metric: str) -> str:
    """A metric's name in words."""
    return NAMES.get(metric, metric.replace("_", " "))


def markdown(header: Sequence[str], rows: Sequence[Sequence[str]], right: bool = True) -> str:
    """A table padded so that its source reads well too; first column left, the others right (or left as well)."""
    widths = [max(3, *(len(row[i]) for row in [header, *rows])) for i in range(len(header))]

    def line(values: Sequence[str]) -> str:
        sides = (str.rjust if right and i else str.ljust for i in range(len(widths)))
        padded = [side(value, width) for side, value, width in zip(sides, values, widths, strict=True)]
        return "| " + " | ".join(padded) + " |"

    rule = "| " + " | ".join("-" * (w - 1) + ":" if right and i else "-" * w for i, w in enumerate(widths)) + " |"
    return "\n".join([line(header), rule, *map(line, rows)]) + "\n"


def comparison_grid(table: Comparison) -> Grid:
    """Methods x data sets as texts; best entries bold."""
    rows = tuple((row, tuple(cell(table.entries.get((row, task))) for task in table.tasks)) for row in table.rows)
    return Grid(("method", *table.tasks), rows)


def grid_markdown(grid: Grid) -> str:
    """A Markdown table, bold and marks included."""
    rows = [
        [escape_markdown(name), *(f"{f'**{text}**' if bold else text} {mark}".strip() for text, bold, mark in cells)]
        for name, cells in grid.rows
    ]
    return markdown([*map(escape_markdown, grid.header)], rows)


def grid_latex(grid: Grid, caption: str) -> str:
    r"""A booktabs `tabular` to \input, with the caption as a comment."""
    lines = [f"% {line}" for line in caption.splitlines()]
    lines += [r"% needs \usepackage{booktabs}", rf"\begin{{tabular}}{{l{'r' * (len(grid.header) - 1)}}}", r"\toprule"]
    lines += [" & ".join(map(escape_latex, grid.header)) + r" \\", r"\midrule"]
    for name, cells in grid.rows:
        texts = [latex_number(text, bold) + f"$^{{{escape_latex(mark)}}}$" * bool(mark) for text, bold, mark in cells]
        lines.append(" & ".join([escape_latex(name), *texts]) + r" \\")
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}", ""])


def latex_number(text: str, bold: bool) -> str:
    r"""`\textbf{$-$2.391} $\pm$ 0.012`; digits stay text because \textbf does not reach into formulas."""
    value, pm, error = map(escape_latex, text.partition(" ± "))
    return (rf"\textbf{{{value}}}" if bold else value) + (f" {pm} {error}" if error else "")


def comparison_csv(table: Comparison, old: Container[str] = ()) -> str:
    """Long numeric form; `old` are names of methods and tasks of superseded versions."""
    records = [
        (task, row, *(getattr(entry, field) for field in CSV.values()), task in old or row.partition(" ")[0] in old)
        for task in table.tasks
        for row in table.rows
        if (entry := table.entries.get((row, task)))
    ]
    return frame_csv(pd.DataFrame(records, columns=["task", "method", *CSV, "superseded"]))


def frame_csv(frame: Frame) -> str:
    """CSV at a precision that machines agree on: the last bits of a mean depend on the order of summing."""
    return frame.to_csv(index=False, lineterminator="\n", float_format="%.10g")


def summary_table(frame: Frame, metric: str, better: int | None = None) -> Frame:
    """Plain-text table of a metric on the test rows: methods x data sets, `*` for the best and those not separable.

    Data sets under several split rules or budgets get one column each, named after what differs.
    """
    frame = frame.assign(rule=frame["split"].str.rsplit("-", n=1).str[0])
    columns: dict[str, Frame] = {}
    for (rule, budget), part in frame.groupby(["rule", "budget"], sort=False):
        table = comparison(part, metric, better=better)
        for task in table.tasks:
            own = frame[frame["task"] == task]
            extra = [str(v) for v, c in ((rule, "rule"), (budget, "budget")) if own[c].nunique() > 1]
            texts = {row: cell(table.entries.get((row, task))) for row in table.rows}
            shown = {
                row: text + (" *" * best + f" {mark}" * bool(mark)).ljust(2)
                for row, (text, best, mark) in texts.items()
            }
            columns[f"{task} [{', '.join(extra)}]" if extra else task] = pd.Series(shown, dtype=object)
    return pd.DataFrame(columns).fillna(EMPTY).rename_axis("method")
