"""Published numbers for the stored splits of UCI sets, how far ours are from them, and what explains a gap.

What is published stands in `published.csv`, what explains gaps in `explained.csv`, both beside this.
"""

from __future__ import annotations

import csv
import math
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from bnnbench.reporting.literature import shipped

EXPLAINED = Path(__file__).with_name("explained.csv")
# split rule -> noise model of our networks under it
NOISE = {"gal": "homoscedastic", "gal-heteroscedastic": "heteroscedastic"}
DATA_SETS = {"housing": "boston"}  # our name -> the papers', where it is another
METRICS = {"test_ll": ("log_likelihood", 1.0), "test_nll": ("log_likelihood", -1.0), "test_rmse": ("rmse", 1.0)}
OF_SPLITS = {"sd", "sd_not_stated"}  # kinds of spread that are standard deviations over splits; others are of the mean
GAP = 2.0  # standard errors beyond which a difference is to be explained


@dataclass(frozen=True)
class Source:
    """A published method.

    Attributes:
        ours: methods of the suite that are the same or nearest.
        short: who published it. noise: its noise model.
        stored: whether on the stored splits, or on random ones of its own.
    """

    ours: tuple[str, ...]
    short: str
    noise: str
    stored: bool = False


SOURCES = {  # published method -> what it is
    "MC dropout": Source(("mc-dropout",), "Gal & Ghahramani 2016", "homoscedastic", stored=True),
    "MC dropout (2018 grid search)": Source(("mc-dropout",), "Gal's repository, 2018", "homoscedastic", stored=True),
    "Deep ensemble (5 nets, NLL)": Source(("ensemble-deep",), "Lakshminarayanan et al. 2017", "heteroscedastic"),
    "ML-1 (single mean+variance net)": Source(("map",), "Lakshminarayanan et al. 2017", "heteroscedastic"),
    "MCVI (Monte Carlo mean-field VI, EB prior)": Source(("bbp-local",), "Wu et al. 2019: MCVI", "heteroscedastic"),
    "hoDVI (homoscedastic DVI)": Source(("bbp-local",), "Wu et al. 2019: hoDVI", "homoscedastic"),
}


@dataclass(frozen=True)
class Published:
    """One published number in the suite's units.

    Attributes:
        se: standard error over splits, at least half of its last printed digit. resolution: of the value as printed.
    """

    name: str
    task: str
    metric: str
    value: float
    se: float
    resolution: float

    @property
    def source(self) -> Source:
        """Who published it, of what."""
        return SOURCES[self.name]

    def difference(self, mean: float, se: float, better: int) -> float:
        """How much better ours is, in combined standard errors; both are taken for independent. NaN without a scale.

        A printed number is rounded, which adds the variance of a uniform distribution of that width.
        """
        combined = math.sqrt(se**2 + self.se**2 + self.resolution**2 / 12)
        return better * (mean - self.value) / combined if combined > 0 else math.nan


@cache
def published() -> tuple[Published, ...]:
    """All numbers of `SOURCES` that the file holds at first hand, in its order."""
    ours = {theirs: name for name, theirs in DATA_SETS.items()}
    found = []
    for row in shipped():
        if row["task"] == "uci_regression" and row["method"] in SOURCES and row["metric"] in METRICS:
            if row["confidence"] != "high" or not row["spread"]:
                continue
            metric, sign = METRICS[row["metric"]]
            spread = max(float(row["spread"]), _unit(row["spread"]) / 2)
            se = spread / math.sqrt(int(row["n_splits"])) if row["spread_kind"] in OF_SPLITS else spread
            task = ours.get(row["dataset"], row["dataset"])
            value = sign * float(row["value"])
            found.append(Published(row["method"], task, metric, value, se, _unit(row["value"])))
    return tuple(found)


def _unit(text: str) -> float:
    """Value of the last digit printed: 0.01 of 2.41."""
    return 10.0 ** -len(text.partition(".")[2])


def explanation(method: str, noise: str, task: str, name: str, metric: str, file: Path = EXPLAINED) -> str:
    """What explains the gap between one of our methods, with a noise model, and a published number; empty: nothing yet.

    A line of the file is about a method of ours, and about every noise model, data set, published method or metric that
    it leaves empty; of several the one that names most.
    """
    wanted = {"method": method, "noise": noise, "task": task, "published": name, "metric": metric}
    matching = [line for line in _explained(file) if all(line[key] in ("", value) for key, value in wanted.items())]
    named = [sum(bool(line[key]) for key in wanted) for line in matching]
    return matching[named.index(max(named))]["explanation"] if matching else ""


@cache
def _explained(file: Path) -> tuple[dict[str, str], ...]:
    with file.open(encoding="utf-8", newline="") as lines:
        return tuple(csv.DictReader(lines))
