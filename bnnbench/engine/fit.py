"""Training of a pack by the contract of its method, and what either contract leaves."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import singledispatch
from typing import Any, Protocol

import numpy as np
from torch import Tensor

from bnnbench.engine.checkpoint import Checkpoint
from bnnbench.engine.estimate import Estimated, estimate
from bnnbench.engine.pack import Pack
from bnnbench.engine.precision import FLOAT32
from bnnbench.engine.predict import Component
from bnnbench.engine.train import Fitted, History, Progress, train
from bnnbench.methods import Method
from bnnbench.methods.base import Inference
from bnnbench.methods.estimator import Estimator
from bnnbench.model import Params


class Trained(Protocol):
    """A trained pack as scoring sees it: `Fitted` or `Estimated`.

    Attributes:
        draws: the collected draws [R, draws, ...], or None. live: which replicas can predict, [R].
        posterior: what the method has found; a UserError of estimators, which have one of their own.
    """

    @property
    def pack(self) -> Pack: ...
    @property
    def draws(self) -> Any: ...
    @property
    def live(self) -> Tensor: ...
    @property
    def posterior(self) -> Any: ...

    def components(self, samples: int, factors: Params | None = None) -> Iterable[Component]:
        """The predictive as functions of the inputs, a few components at a time."""
        ...

    def rows_at_once(self, samples: int) -> int:
        """Rows that so many components predict at once."""
        ...

    def arrays(self, replica: int) -> Mapping[str, np.ndarray]:
        """What is stored of a replica to predict later; empty: nothing."""
        ...


@singledispatch
def fit(
    method: Inference,
    pack: Pack,
    compiled: bool,
    deadline: float | None = None,
    progress: Progress = lambda steps: None,
    checkpoint: Checkpoint | None = None,
    precision: str = FLOAT32,
) -> tuple[Trained, History]:
    """Train a pack of a method as `train` says, or of an estimator, which knows neither steps nor checkpoints.

    Raises:
        OutOfTime: the deadline has passed.
    """
    raise TypeError(f"{type(method).__name__} keeps neither contract, Method nor Estimator")


@fit.register
def _method(
    method: Method,
    pack: Pack,
    compiled: bool,
    deadline: float | None = None,
    progress: Progress = lambda steps: None,
    checkpoint: Checkpoint | None = None,
    precision: str = FLOAT32,
) -> tuple[Fitted, History]:
    return train(pack, compiled, deadline, progress, checkpoint, precision)


@fit.register
def _estimator(method: Estimator, pack: Pack, *_: Any, **__: Any) -> tuple[Estimated, History]:
    return estimate(method, pack)


@singledispatch
def rebuild(method: Inference, pack: Pack, arrays: Mapping[str, np.ndarray]) -> Trained:
    """What was trained of one cell, back from its arrays.

    Raises:
        KeyError: one of them is missing.
    """
    raise TypeError(f"{type(method).__name__} keeps neither contract, Method nor Estimator")


@rebuild.register
def _fitted(method: Method, pack: Pack, arrays: Mapping[str, np.ndarray]) -> Fitted:
    return Fitted.from_arrays(pack, arrays)


@rebuild.register
def _estimated(method: Estimator, pack: Pack, arrays: Mapping[str, np.ndarray]) -> Estimated:
    return Estimated.from_arrays(method, pack, arrays)
