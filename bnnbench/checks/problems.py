r"""Problems with known answers, as tasks that the engine runs like any other.

Linear regression with known noise, y ~ N(w x + b, noise^2) on standardised inputs and targets. The posterior mean of
the weights can be read off any predictive: f(0) = b and f(e_j) = w_j + b, so a method need not show its weights.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor, nn

from bnnbench import random
from bnnbench.data.arrays import Data, Split
from bnnbench.model import GaussianPredictive, Likelihood, Params, Problem, Rows, Table
from bnnbench.model.predictive import normal_log_density
from bnnbench.nets import MLP
from bnnbench.tasks import Task

COLUMNS = 3
NOISE = 0.5
MIXING = np.array([[1.0, 0.7, 0.0], [0.0, 0.7, 0.3], [0.0, 0.0, 1.0]])  # makes columns correlated


@dataclass(frozen=True)
class KnownNoise(Likelihood):
    """N(y; out, noise^2) on the standardised target."""

    noise: float = NOISE

    @property
    def outputs(self) -> int:
        return 1

    def log_prob(self, params: Params, out: Tensor, y: Tensor) -> Tensor:
        return normal_log_density(y, out[..., 0], torch.full_like(y, self.noise))

    def fisher_root(self, params: Params, out: Tensor) -> Tensor:
        return torch.full_like(out, 1 / self.noise)[..., None]

    def predictive(self, params: Params, out: Tensor, shift: Tensor, scale: Tensor) -> GaussianPredictive:
        mean = shift + scale * out[..., 0].to(scale.dtype)
        return GaussianPredictive(mean, (scale * self.noise).expand_as(mean))


class Banana(nn.Module):
    """x -> (w x)^2 + b: two weights whose posterior given y = 0 at x = 1 is curved and has two arms."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(1, 1)

    def forward(self, x: Tensor) -> Tensor:
        bent = self.layer(x) - self.layer(torch.zeros_like(x))
        return bent**2 + self.layer(torch.zeros_like(x))


@dataclass(frozen=True)
class Known(Task):
    """A check's task; validation rows are the training rows, test rows the probes that read the weights off.

    Attributes:
        rows: number of data. orthogonal: whether columns are uncorrelated, so that the posterior factorises.
        empty: whether the data count for nothing. banana: the curved target instead of the linear one.
        noise: standard deviation of the likelihood on the standardised target.
    """

    rows: int = 64
    orthogonal: bool = False
    empty: bool = False
    banana: bool = False
    noise: float = NOISE

    def present(self, root: object = None) -> bool:
        return True

    def data(self, root: object = None) -> Data:
        return _banana(self.rows) if self.banana else _linear(self.rows, self.orthogonal)

    def splits(self, rule: str, root: object = None) -> list[Split]:
        fit, everything = np.arange(self.rows), np.arange(len(self.data().y))
        return [Split(fit, fit, everything[self.rows :])]

    def problem(self, rule: str, table: Table, rows: Rows, classes: int, steps: int) -> Problem:
        if self.banana:  # nothing is standardised
            zero, one = torch.zeros_like(rows.x_shift), torch.ones_like(rows.x_scale)
            rows = rows._replace(x_shift=zero, x_scale=one, y_shift=0 * rows.y_shift)
        if self.empty:
            rows = rows._replace(weight=0 * rows.weight, total=torch.ones_like(rows.total))
        problem = super().problem(rule, table, rows, classes, steps)
        return replace(problem, likelihood=KnownNoise(self.noise))

    def likelihood(self, rule: str, classes: int = 0) -> Likelihood:
        return KnownNoise(self.noise)

    def network(self, rule: str, shape: Sequence[int], outputs: int) -> nn.Module:
        return Banana() if self.banana else MLP(shape[0], (), outputs)


def task(batch: int, **settings: bool | float) -> Known:
    """The task of a check, with this batch size."""
    name = "check-" + "-".join([*(f"{k}={v}" for k, v in settings.items()), str(batch)])
    return Known(name, "regression", ("check",), ("known",), (), batch_size=batch, **settings)  # type: ignore[arg-type]


@lru_cache
def _linear(rows: int, orthogonal: bool) -> Data:
    """Training rows, then the probes 0, e_1 ... e_d in standardised inputs."""
    z = random.normal(random.key_of("check", rows), (rows, COLUMNS + 1), torch.float64).numpy()
    x = z[:, :COLUMNS] - z[:, :COLUMNS].mean(0)
    x = np.linalg.qr(x)[0] if orthogonal else x @ MIXING
    x = 2.0 + 3.0 * x / x.std(0)
    y = 10 + 4 * ((x[:, 0] - 2) / 3 * 0.8 + 0.45 * z[:, COLUMNS] * np.sqrt(rows) / np.linalg.norm(z[:, COLUMNS]))
    probes = x.mean(0) + np.vstack([np.zeros(COLUMNS), np.diag(x.std(0))])
    return Data(np.vstack([x, probes]), np.concatenate([y, np.full(COLUMNS + 1, y.mean())]), f"{rows}{orthogonal}")


@lru_cache
def _banana(rows: int) -> Data:
    """Rows (x, y) = (1, 1 or -1 in turn), whose mean is 0; then the probes x = 0 and x = 1."""
    y = np.where(np.arange(rows) % 2, 1.0, -1.0)
    x = np.concatenate([np.ones(rows), [0.0, 1.0]])
    return Data(x[:, None], np.concatenate([y, [0.0, 0.0]]), f"banana{rows}")
