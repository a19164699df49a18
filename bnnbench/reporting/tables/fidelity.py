"""The comparisons with HMC as tables, one a metric: the captions say what qualifies them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from bnnbench.reporting.fidelity import Fidelity, Ranking
from bnnbench.reporting.statistics import Frame
from bnnbench.reporting.tables.grid import Grid
from bnnbench.reporting.tables.table import Table
from bnnbench.reporting.tables.text import EMPTY, OTHER_TARGET, UNCONVERGED, number, significant, words

FLOOR, RANK = "noise floor (hmc)", "mean rank"
TITLES = {
    "w1_to_hmc": "Distance from HMC",
    "tv_to_hmc": "Distance from HMC, of classes",
    "agreement_with_hmc": "Agreement with HMC",
    "log_information_ratio": "Epistemic entropy against HMC",
    "mean_gap": "Gap of the means",
    "log_sd_ratio": "Width against HMC",
    "log_epistemic_ratio": "Epistemic width against HMC",
}


def fidelity_tables(found: Fidelity) -> list[Table]:
    """One table a metric."""
    return [
        Table(f"fidelity-{metric}", TITLES.get(metric, words(metric)), _grid(found, numbers, metric),
              _caption(found, metric), numbers)
        for metric in found.metrics
        for numbers in [_numbers(found, metric)]
    ]  # fmt: skip


COLUMNS = {
    "certified": "certified",
    "rhat_95": "R-hat, 95 % of predictions",
    "rhat_all": "R-hat, all",
    "rhat_log_joint": "R-hat, log joint",
    "ess_median": "ESS, median",
    "trajectories_divergent": "divergent",
    "gradients": "gradients",
    "lacks": "what it lacks",
}
CERTIFICATES = (
    "Certificates of HMC, whose chains start from the prior and from a deep ensemble. R-hat: rank-normalised and split "
    "(Vehtari et al. 2021), of the predicted means and log scales or class probabilities at the test rows, the largest "
    "of all chains together and of those of either start. ESS: bulk effective sample size of the same quantities. "
    "Divergent: share of trajectories whose energy was lost. Gradients: over the whole data set, of all chains. "
    "Certified: R-hat is at most 1.01 for 95 % of the predictions, at most 1.05 for all of them and for the log joint "
    "density, the median ESS is at least 400, and at most 0.1 % of the trajectories diverge. What is not certified "
    "enters no ranking."
)


def certificate_tables(found: Fidelity) -> list[Table]:
    """The certificates of the runs that all are compared with, one table if there are any."""
    numbers = found.certificates
    if numbers.empty:
        return []
    rows = [[row["column"], *(_certified(name, row[name]) for name in COLUMNS)] for row in numbers.to_dict("records")]
    grid = Grid.of_texts(["data", *COLUMNS.values()], rows)
    return [Table("fidelity-certificates", "Has HMC converged?", grid, CERTIFICATES, numbers.drop(columns="column"))]


def _certified(name: str, value: Any) -> str:
    """A number of a certificate as a text."""
    texts = {
        "certified": lambda: "yes" if value else "no",
        "ess_median": lambda: f"{value:,.0f}",
        "gradients": lambda: f"{value:,.0f}",
        "trajectories_divergent": lambda: f"{value:.2%}",
        "lacks": lambda: value.removeprefix("not certified: ") or EMPTY,
    }
    return texts.get(name, lambda: number(value, 3))()


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
            "unconverged": part["unconverged"], "reference_unconverged": part["column"].isin(found.flagged),
        }
    )  # fmt: skip


def _grid(found: Fidelity, numbers: Frame, metric: str) -> Grid:
    """Noise floors on top; mean ranks to the right."""
    flags = numbers[["other_target", "unconverged", "reference_unconverged"]].itertuples(index=False)
    marks = [OTHER_TARGET * other + UNCONVERGED * (own or reference) for other, own, reference in flags]
    lines = numbers.assign(column=found.frame["column"], mark=marks)
    floors = [(FLOOR, c, significant(v)) for (m, c), v in found.floor.items() if m == metric]
    ranks = [(row, RANK, number(rank, 1)) for row, rank in _ranks(found, metric).items()]
    more = pd.DataFrame([*floors, *ranks], columns=["method", "column", "text"])
    columns = {c: c + f" {UNCONVERGED}" * (c in found.flagged) for c in found.columns} | {RANK: RANK}
    return Grid.from_long(pd.concat([lines, more]), [FLOOR, *found.rows], columns)


def _ranks(found: Fidelity, metric: str) -> dict[str, float]:
    """Those of the metric that ranks."""
    ranking = found.ranking()
    return ranking.ranks if metric in ranking.metrics else {}


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
    what = found.metrics[metric].summary or words(metric)
    text = f"{what[0].upper()}{what[1:]}. HMC samples the task's posterior"
    certified = set(found.certificates["column"]) if len(found.certificates) else set()
    rhat = [f"{c} {number(found.rhat[c], 3)}" for c in found.columns if c in found.rhat and c not in certified]
    text += f" (its R-hat, largest over test points: {', '.join(rhat)})" * bool(rhat) + ". "
    text += 'Its certificates stand under "Has HMC converged?". ' * bool(certified)
    if any(m == metric for m, _ in found.floor):
        text += "Noise floor: two halves of HMC's own chains compared, below which nothing can be separated. Bold: the "
        text += "value nearest to zero, and all within the noise floor. "
    else:
        text += "Bold: the value nearest to zero. "
    if _ranks(found, metric):
        text += ranked_over(found.ranking()) + " "
    if found.other:
        text += f"{OTHER_TARGET}: the method's target is another prior or another model, so that its distance is no "
        text += "error of approximation; it is not ranked and does not compete for bold. "
    if found.flagged:
        where = ", ".join(sorted(found.flagged))
        text += f"{UNCONVERGED}: HMC is flagged by its own convergence diagnostics there ({where}), and a "
        text += "comparison with it is worth no more. "
    if found.frame["unconverged"].any():
        text += f"{UNCONVERGED} elsewhere: the method is flagged by its own. "
    return text.strip()
