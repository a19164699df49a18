"""Calibration after training, on the validation rows: what `--calibrate` offers.

Each is an evaluation of its own on the test rows, beside `test`, which it never replaces.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from torch import Tensor

from bnnbench import names
from bnnbench.engine.cell import Cell
from bnnbench.evaluation import conformal, temperature
from bnnbench.metrics import METRICS
from bnnbench.model import CategoricalPredictive, Predictive
from bnnbench.model.regions import Region
from bnnbench.records import MetricRecord, Score

KINDS = ("regression", "classification")  # of tasks that can be calibrated
FITTED = (
    MetricRecord(
        "temperature_scale",
        0,
        "",
        "temperature of the mixture's log-probabilities, or factor of a regression's spread, fitted on validation rows",
    ),
    MetricRecord(
        "conformal_quantile",
        0,
        "",
        "by how much intervals were widened on each side (in the unit of the target), or the mass that sets of classes "
        "hold, so that they hold 90 % of the validation rows",
    ),
)
# What a single tempered distribution does not have.
OF_COMPONENTS = ("entropy_aleatoric", "entropy_epistemic", "kwon_aleatoric", "kwon_epistemic")
OF_REGIONS = ("coverage_90", "width_90", "set_size_90", "interval_score_90")


class Calibrated(NamedTuple):
    """What a calibration makes of the predictive on the test rows.

    Attributes:
        predictive: as it is now. given: intervals or sets of classes, where it makes such.
        metrics: names of those that score it. fitted: the number that was fitted.
    """

    predictive: Predictive
    given: Region | None
    metrics: tuple[str, ...]
    fitted: Score


# None of a kind of predictive that it is not made for, which is scored without.
Calibration = Callable[[Predictive, Tensor, Predictive, Tensor], Calibrated | None]


def _temperature(validation: Predictive, y: Tensor, test: Predictive, key: Tensor) -> Calibrated | None:
    """`temperature`."""
    del key
    found = temperature.scaled(validation, y, test)
    if found is None:
        return None
    factor, scaled = found
    left_out = OF_COMPONENTS if isinstance(scaled, CategoricalPredictive) else ()
    metrics = tuple(name for name in METRICS.names() if name not in left_out)
    return Calibrated(scaled, None, metrics, Score("temperature_scale", factor, None))


def _conformal(validation: Predictive, y: Tensor, test: Predictive, key: Tensor) -> Calibrated | None:
    """`conformal`."""
    found = conformal.regions(validation, y, test, key)
    if found is None:
        return None
    quantile, given = found
    return Calibrated(test, given, OF_REGIONS, Score("conformal_quantile", quantile, None))


CALIBRATIONS: dict[str, Calibration] = {"temperature": _temperature, "conformal": _conformal}


def calibrated_sets(cell: Cell) -> dict[str, Calibration]:
    """Evaluation name -> calibration, of those that the cell is to get."""
    return {names.calibrated(name): CALIBRATIONS[name] for name in cell.calibrations}
