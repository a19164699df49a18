"""The comparisons with HMC as tables, one a metric: the captions say what qualifies them."""

from __future__ import annotations

import numpy as np
import pandas as pd

from bnnbench.reporting.extra import Extra
from bnnbench.reporting.fidelity import Fidelity, Ranking
from bnnbench.reporting.statistics import Frame
from bnnbench.reporting.tables.grid import EMPTY, OTHER_TARGET, UNCONVERGED, Grid, Text, measured, number, significant

FLOOR = "noise floor (hmc)"
ABOUT = {
    "w1_to_hmc": ("Distance from HMC", "Wasserstein-1 distance of the predictive from that of HMC, in standard "
                  "deviations of HMC's predictive, mean over test points; 0 is equal"),
    "mean_gap": ("Gap of the means", "distance of the predictive mean from that of HMC, in standard deviations of "
                 "HMC's predictive, mean over test points; 0 is equal"),
    "log_sd_ratio": ("Width against HMC", "log of the predictive standard deviation over that of HMC, mean "
                     "over test points; negative: overconfident, positive: underconfident, 0 is equal"),
    "log_epistemic_ratio": ("Epistemic width against HMC", "log ratio to HMC of the part of the standard deviation "
                            "that comes from not knowing the weights; −∞ for a point estimate, which has none"),
}  # fmt: skip


def fidelity_tables(found: Fidelity) -> list[Extra]:
    """One table a metric."""
    return [
        Extra(f"fidelity-{metric}", ABOUT[metric][0], _grid(found, metric), _caption(found, metric),
              _numbers(found, metric))
        for metric in found.metrics()
    ]  # fmt: skip


def _grid(found: Fidelity, metric: str) -> Grid:
    own, bold = found.own(metric), found.bold(metric)
    header = tuple(c + f" {UNCONVERGED}" * (c in found.doubted) for c in found.columns)

    def text(row: str, column: str) -> Text:
        if (row, column) not in own:
            return EMPTY, False, ""
        value, se, unconverged = own[row, column]
        mark = OTHER_TARGET * (row in found.other) + UNCONVERGED * (unconverged or column in found.doubted)
        return measured(value, se), (row, column) in bold, mark

    ranks = _ranks(found, metric)
    ranked: list[Text] = [(number(ranks[r], 1) if r in ranks else EMPTY, False, "") for r in found.rows if ranks]
    rows = [(row, tuple(text(row, c) for c in found.columns)) for row in found.rows]
    rows = [(row, (*texts, *ranked[i : i + 1])) for i, (row, texts) in enumerate(rows)]
    floors = [found.floor.get((metric, c)) for c in found.columns]
    if any(v is not None for v in floors):
        first = tuple((EMPTY if v is None else significant(v), False, "") for v in floors)
        rows.insert(0, (FLOOR, (*first, *[(EMPTY, False, "")] * bool(ranks))))
    return Grid(("method", *header, *["mean rank"] * bool(ranks)), tuple(rows))


def _ranks(found: Fidelity, metric: str) -> dict[str, float]:
    """Those of the metric that ranks."""
    ranking = found.ranking()
    return ranking.ranks if ranking.metric == metric else {}


def ranked_over(ranking: Ranking) -> str:
    """What the ranks are over, and what is left out of them."""
    if not ranking.columns:
        return "No ranks: there is no column in which HMC converged and every method has a value. "
    text = f"Mean rank: over {', '.join(ranking.columns)}, where HMC converged and every ranked method has a value. "
    if ranking.unconverged:
        text += f"Not ranked over, for HMC is unconverged there: {', '.join(ranking.unconverged)}. "
    for column, rows in ranking.missing.items():
        text += f"Not ranked over {column}, which {', '.join(rows)} {'lacks' if len(rows) == 1 else 'lack'}. "
    return text.strip()


def _caption(found: Fidelity, metric: str) -> str:
    what = ABOUT[metric][1]
    text = f"{what[0].upper()}{what[1:]}. HMC samples the task's posterior"
    rhat = [f"{c} {number(found.rhat[c], 3)}" for c in found.columns if c in found.rhat]
    text += f" (its R-hat: {', '.join(rhat)})" * bool(rhat) + ". "
    if any(m == metric for m, _ in found.floor):
        text += (
            "Noise floor: two halves of HMC's own chains compared, below which nothing can be told apart. Bold: the "
        )
        text += "value nearest to zero, and all within the noise floor. "
    else:
        text += "Bold: the value nearest to zero. "
    if _ranks(found, metric):
        text += ranked_over(found.ranking()) + " "
    if found.other:
        text += f"{OTHER_TARGET}: the method's target is another prior or another model, so that its distance is no "
        text += "error of approximation; it is not ranked and does not compete for bold. "
    if found.doubted:
        text += f"{UNCONVERGED}: HMC itself doubts its convergence there ({', '.join(sorted(found.doubted))}), and a "
        text += "comparison with it is worth no more. "
    if found.frame["unconverged"].any():
        text += f"{UNCONVERGED} elsewhere: the method doubts its own. "
    return text.strip()


def _numbers(found: Fidelity, metric: str) -> Frame:
    """Long form: a value, the floor under it and what qualifies it."""
    part = found.frame[found.frame["metric"] == metric]
    bold = found.bold(metric)
    keys = list(zip(part["row"], part["column"], strict=True))
    ranks = _ranks(found, metric)
    return pd.DataFrame(
        {
            "task": part["task"], "split": part["split"], "method": part["row"], "metric": metric,
            "value": part["value"], "stderr": part["stderr"],
            "noise_floor": [found.floor.get((metric, c), np.nan) for _, c in keys],
            "best": [k in bold for k in keys], "other_target": part["row"].isin(found.other),
            **({"mean_rank": [ranks.get(r, np.nan) for r, _ in keys]} if ranks else {}),
            "unconverged": part["unconverged"], "reference_unconverged": part["column"].isin(found.doubted),
        }
    )  # fmt: skip
