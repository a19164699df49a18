"""Is this converged? One sentence a row, from what each kind of method leaves to judge by.

A sampler is judged by its own diagnostics. An optimiser whose last state is kept is judged by what its objective still
gains: by a run of four times the gradients (budget `long`), where there is one, else over its last fifth. A state that
early stopping chose is none that training converged to.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd

from bnnbench.names import SAMPLER, TEST
from bnnbench.records import Status
from bnnbench.reporting.gather import Arrays, gather, gather_longer
from bnnbench.reporting.select import Section, Selection
from bnnbench.reporting.statistics import Frame
from bnnbench.reporting.tables.grid import Grid
from bnnbench.reporting.tables.table import Table
from bnnbench.reporting.tables.text import significant

SETTLED = 0.01  # nats a row: what the objective may still gain
AGREED = 0.95  # share of test points
FLAGGED = [Status.UNCONVERGED.value, Status.DIVERGED.value]
CAPTION = (
    "Samplers: no cell is flagged by their own diagnostics, and by R-hat the chains agree at 95 % of the test points "
    "of the median cell. Early stopping: the median of the step whose state was "
    "kept, over all steps; a state chosen on validation rows is none that the method converged to. Others: how much "
    "the objective (for variational methods minus the ELBO, in nats a training row) still falls, the largest of the "
    f"data sets; converged is less than {SETTLED}."
)


def convergence_tables(selection: Selection, section: Section) -> Iterator[Table]:
    """One table, if any method here is trained."""
    curves = {key: cells for key, cells in gather(selection, section, "training", None).items() if cells}
    longer = gather_longer(selection, section, "training")
    later = {key: _end(cells) for key, cells in longer.items() if all("loss" in cell for cell in cells)}
    told = {row: _judged(section, row, curves, later) for row in section.rows}
    found = {row: judgement for row, judgement in told.items() if judgement is not None}
    if found:
        numbers = pd.DataFrame([{"method": row, "converged": yes, "why": why} for row, (yes, why) in found.items()])
        texts = [[row, yes, why] for row, (yes, why) in found.items()]
        grid = Grid.of_texts(["method", "converged?", "why"], texts)
        yield Table(f"{section.name}-convergence", f"{section.group}: is this converged?", grid, CAPTION, numbers)


Ends = dict[tuple[str, str], float]  # (row, task) -> objective at the end, mean over cells


def _judged(
    section: Section, row: str, curves: dict[tuple[str, str], list[Arrays]], later: Ends
) -> tuple[str, str] | None:
    """Yes, no or stopped early, with the reason, of one row; None of what is not trained."""
    own: Frame = section.attempts[section.attempts["row"] == row]
    flagged = own["status"].isin(FLAGGED)
    sampled = ((section.scores["row"] == row) & (section.scores["evaluation"] == SAMPLER)).any()
    if sampled or flagged.any():
        worst, share = next(iter(own.loc[flagged, "message"].value_counts().index), ""), _agreement(section, row)
        why = f"{flagged.sum()} of {len(own)} cells flagged{f': {worst}' * bool(worst)}"
        why += f"; chains agree at {share:.0%} of the test points" * (share == share)
        return ("no" if flagged.any() or share < AGREED else "yes"), why
    stopped = (own["step_kept"] / own["steps"]).dropna()
    if len(stopped):
        return "stopped", f"early stopping kept the state after {stopped.median():.0%} of the steps"
    gains = _gains(row, curves, later)
    if not gains:
        return None
    task, (gain, how) = max(gains.items(), key=lambda item: item[1][0])
    return ("yes" if gain < SETTLED else "no"), f"the objective falls by {significant(max(gain, 0.0))} {how} ({task})"


def _agreement(section: Section, row: str) -> float:
    """Median over cells of the share of test points at which R-hat lets a row's chains pass; NaN without any."""
    scores = section.scores
    own = scores[(scores["row"] == row) & (scores["evaluation"] == TEST) & (scores["metric"] == "share_converged")]
    return float(own["value"].median())


def _gains(row: str, curves: dict[tuple[str, str], list[Arrays]], later: Ends) -> dict[str, tuple[float, str]]:
    """What the objective still gains on each task, and how that was found."""
    found = {}
    for (name, task), cells in curves.items():
        if name != row or not all("loss" in cell for cell in cells):
            continue
        if (row, task) in later:
            found[task] = (_end(cells) - later[row, task], "with four times the gradients")
        else:
            before = np.mean([_part(cell["loss"], 0.6, 0.8) for cell in cells])
            found[task] = (float(before) - float(np.mean([_part(cell["loss"], 0.8, 1.0) for cell in cells])),
                           "from the fourth fifth of the steps to the last")  # fmt: skip
    return found


def _end(cells: list[Arrays]) -> float:
    """The objective over the last twentieth of the steps, mean over cells."""
    return float(np.mean([_part(cell["loss"], 0.95, 1.0) for cell in cells]))


def _part(values: np.ndarray, start: float, stop: float) -> float:
    """Mean over a part of a curve."""
    first, last = int(start * len(values)), max(int(stop * len(values)), int(start * len(values)) + 1)
    return float(values[first:last].mean())
