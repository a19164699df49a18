"""Predictives as named arrays, `test/mean`, `test/scale` and `test/y`, in which they are kept beside a database."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from bnnbench.model import (
    BinnedPredictive,
    CategoricalPredictive,
    DensityPredictive,
    GaussianPredictive,
    Predictive,
    QuantilePredictive,
    SamplePredictive,
)

Arrays = Mapping[str, np.ndarray]
KINDS: tuple[type[Predictive], ...] = (
    GaussianPredictive,
    CategoricalPredictive,
    DensityPredictive,
    BinnedPredictive,
    QuantilePredictive,
    SamplePredictive,
)


def to_arrays(name: str, predictive: Predictive, y: np.ndarray | None) -> dict[str, np.ndarray]:
    """The fields of a predictive on the test set of this name, with the targets where there are any."""
    fields = predictive._asdict().items()
    arrays = {f"{name}/{field}": value.numpy() for field, value in fields if value is not None}
    return arrays if y is None else arrays | {f"{name}/y": y}


def from_arrays(name: str, arrays: Arrays) -> Predictive | None:
    """The predictive that is kept of a test set: of the kind whose fields are there. None where nothing is."""
    for kind in KINDS:
        found = {field: arrays.get(f"{name}/{field}") for field in kind._fields}
        if all(value is not None or field in kind._field_defaults for field, value in found.items()):
            values: Any = {field: None if value is None else torch.as_tensor(value) for field, value in found.items()}
            return kind(**values)
    return None
