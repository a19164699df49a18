"""How near is each predictive to that of HMC, the sampler of the task's posterior that all are measured by?

The cells come from several sections, so this stands apart from them: one column a data set and split.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import pandas as pd

from bnnbench.names import CERTIFICATE, FIDELITY, TEST
from bnnbench.reporting.comparison import method_of
from bnnbench.reporting.select import Definition, Section, Selection
from bnnbench.reporting.statistics import Frame


@dataclass(frozen=True)
class Ranking:
    """Mean ranks by the distance from HMC (1 is nearest) of methods that aim at its posterior.

    Attributes:
        metrics: the distances: of each column the first metric that it has.
        columns: those ranked over: HMC converged in them, and every ranked method has a value.
        ranks: row -> mean rank over these columns, nearest first; empty where there is no such column.
        unconverged: columns left out because HMC is flagged by its own convergence diagnostics there.
        missing: other columns left out -> the methods that have no value there.
    """

    metrics: tuple[str, ...]
    columns: tuple[str, ...]
    ranks: dict[str, float]
    unconverged: tuple[str, ...]
    missing: dict[str, tuple[str, ...]]


@dataclass(frozen=True)
class Fidelity:
    """Comparisons with HMC.

    Attributes:
        frame: a row for metric, column and method: `value`, `stderr` (seeds averaged), `unconverged`.
        columns: data set and split, in the order of the sections.
        rows: methods, without the reference.
        floor: (metric, column) -> the distance of two halves of HMC's own chains.
        rhat: column -> R-hat of HMC.
        certificates: a row for each column that has one: `column`, `task`, `split`, the numbers of the certificate,
            `gradients`, and `lacks`, a sentence.
        flagged: columns in which HMC is flagged by its own convergence diagnostics.
        other: rows whose target is not the task's posterior.
        metrics: definitions of those that have values, in the order of registration; by the first that a column has,
            methods are ranked there.
    """

    frame: Frame
    columns: tuple[str, ...]
    rows: tuple[str, ...]
    floor: dict[tuple[str, str], float]
    rhat: dict[str, float]
    certificates: Frame
    flagged: frozenset[str]
    other: frozenset[str]
    metrics: dict[str, Definition]

    def own(self, metric: str) -> dict[tuple[str, str], tuple[float, float, bool]]:
        """(row, column) -> value, standard error, unconverged."""
        part = self.frame[self.frame["metric"] == metric]
        keys = zip(part["row"], part["column"], strict=True)
        return dict(zip(keys, zip(part["value"], part["stderr"], part["unconverged"], strict=True), strict=True))

    def bold(self, metric: str) -> set[tuple[str, str]]:
        """Nearest to zero in its column, and all below the noise floor, where nothing can be separated.

        Other targets do not compete: they do not approximate this posterior, however near they come.
        """
        found = set()
        own = {k: abs(v) for k, (v, _, _) in self.own(metric).items() if math.isfinite(v) and k[0] not in self.other}
        for column in self.columns:
            here = {key: v for key, v in own.items() if key[1] == column}
            limit = max(min(here.values(), default=0.0), abs(self.floor.get((metric, column), 0.0)))
            found |= {key for key, v in here.items() if v <= limit}
        return found

    def ranking(self) -> Ranking:
        """By the first metric of each column, over columns in which all can be compared."""
        present = set(zip(self.frame["column"], self.frame["metric"], strict=True))
        first = {c: next(m for m in self.metrics if (c, m) in present) for c in self.columns}
        own = {metric: self.own(metric) for metric in dict.fromkeys(first.values())}
        table = {
            key: abs(value)
            for metric, values in own.items()
            for key, (value, _, _) in values.items()
            if first[key[1]] == metric and not math.isnan(value)
        }
        rows = [r for r in self.rows if r not in self.other]
        sound = [c for c in self.columns if c not in self.flagged]
        missing = {c: tuple(r for r in rows if (r, c) not in table) for c in sound}
        columns = tuple(c for c in sound if not missing[c])
        frame: Frame = pd.DataFrame({c: {r: table[r, c] for r in rows} for c in columns}, dtype=float)
        mean = {} if frame.empty else frame.rank().mean(axis=1).sort_values(kind="stable").to_dict()
        lost = {c: without for c, without in missing.items() if without}
        return Ranking(tuple(own), columns, mean, tuple(c for c in self.columns if c in self.flagged), lost)


def fidelity(selection: Selection) -> Fidelity | None:
    """All comparisons of the selected cells, or None without any."""
    return selection.once("fidelity", lambda: _fidelity(selection))


def _fidelity(selection: Selection) -> Fidelity | None:
    parts = [_compared(s) for s in selection.sections]
    frame: Frame = pd.concat(parts)
    frame = frame[~frame["row"].isin(selection.gold_standard())]
    if frame.empty:
        return None
    columns = tuple(dict.fromkeys(frame["column"]))
    references = pd.concat([_reference(selection, s) for s in selection.sections])
    present_metrics = set(frame["metric"])
    present = set(frame["row"])
    rows = dict.fromkeys(r for s in selection.sections for r in s.rows if r in present)
    ordered = {r: i for i, r in enumerate(_registered(selection, rows))}
    return Fidelity(
        _averaged(frame, columns, ordered),
        columns,
        tuple(ordered),
        _means(references[references["evaluation"] == FIDELITY], ["metric", "column"]),
        _means(references[references["metric"] == "rhat"], "column"),
        _certificates(references, columns),
        frozenset(references.loc[references["status"] == "unconverged", "column"]),
        frozenset(frame.loc[frame["other_target"], "row"]),
        {metric: selection.metric(metric) for metric in selection.metrics["name"] if metric in present_metrics},
    )


def _registered(selection: Selection, rows: dict[str, None]) -> list[str]:
    """Rows in the order of methods, whichever section showed them first."""
    order = dict(zip(selection.methods["name"], selection.methods["order"], strict=True))
    return sorted(rows, key=lambda r: (order.get(method_of(r), 0), method_of(r)))


def _compared(section: Section) -> Frame:
    """The section's comparisons in the order of tasks and splits."""
    frame = section.scores[section.scores["evaluation"] == FIDELITY]
    frame = frame.assign(place=frame["task"].map({t: i for i, t in enumerate(section.tasks)}))
    return _with_column(frame.sort_values(["place", "index"], kind="stable"))


def _with_column(frame: Frame) -> Frame:
    """`housing 10fold-0`; a data set with one fixed split needs no number."""
    fixed = frame["split"].str.startswith("fixed-")
    return frame.assign(column=frame["task"].where(fixed, frame["task"] + " " + frame["split"]))


def _reference(selection: Selection, section: Section) -> Frame:
    """HMC's own scores on the section's data sets, whatever methods were selected and whatever its budget: they qualify
    every comparison."""
    chosen = {"method": selection.gold_standard(), "task": section.tasks, "rule": section.rule}
    runs = selection.store.best_runs(**chosen)[["fingerprint", "message", "gradients"]]
    frame = selection.store.scores(**chosen, evaluation=[FIDELITY, TEST, CERTIFICATE])
    return _with_column(frame.merge(runs, on="fingerprint"))


def _certificates(references: Frame, columns: tuple[str, ...]) -> Frame:
    """Certificates in wide form, in the order of columns."""
    part = references[(references["evaluation"] == CERTIFICATE) & references["column"].isin(columns)]
    keys = ["column", "task", "split", "gradients", "message"]
    wide = part.pivot(index=keys, columns="metric", values="value").reset_index()
    place = {column: i for i, column in enumerate(columns)}
    wide = wide.rename(columns={"message": "lacks"}).rename_axis(columns=None)
    return wide.sort_values("column", key=lambda c: c.map(place), ignore_index=True)


def _averaged(frame: Frame, columns: tuple[str, ...], rows: dict[str, int]) -> Frame:
    """Seeds averaged; in the order of columns and rows."""
    grouped = frame.assign(unconverged=frame["status"] == "unconverged").groupby(
        ["metric", "column", "row"], sort=False
    )
    mean = {"value": ("value", "mean"), "stderr": ("stderr", "mean"), "unconverged": ("unconverged", "any")}
    table = grouped.agg(task=("task", "first"), split=("split", "first"), **mean).reset_index()
    places = {"column": {c: i for i, c in enumerate(columns)}, "row": rows}
    return table.sort_values(["column", "row"], key=lambda k: k.map(places[k.name]), kind="stable", ignore_index=True)


def _means(frame: Frame, keys: str | list[str]) -> dict:
    return frame.groupby(keys)["value"].mean().to_dict()
