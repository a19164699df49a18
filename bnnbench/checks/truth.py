"""The known answers, in numpy and scipy: none of the code under test but the priors' densities."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import scipy.optimize
import torch

from bnnbench.checks.problems import COLUMNS, Known
from bnnbench.model import Prior

Density = Callable[[np.ndarray], np.ndarray]


def standardised(task: Known) -> tuple[np.ndarray, np.ndarray]:
    """Inputs with a column of ones for the bias [n, d + 1], and targets [n], of the training rows."""
    data = task.data()
    x, y = data.x[: task.rows], data.y[: task.rows]
    return np.hstack([(x - x.mean(0)) / x.std(0), np.ones((len(x), 1))]), (y - y.mean()) / y.std()


def prior_scales(prior: Prior) -> np.ndarray:
    """The prior's scale of the weights and of the bias [d + 1]."""
    weight, bias = torch.zeros(1, COLUMNS, dtype=torch.float64), torch.zeros(1, dtype=torch.float64)
    return np.array([float(prior.scale_of(weight))] * COLUMNS + [float(prior.scale_of(bias))])


def conjugate(task: Known, prior: Prior) -> tuple[np.ndarray, np.ndarray]:
    """Mean [d + 1] and precision matrix of the weights' posterior under a Gaussian prior (Bishop 2006, section 3.3)."""
    x, y = standardised(task)
    if task.empty:
        x, y = 0 * x, 0 * y
    precision = x.T @ x / task.noise**2 + np.diag(prior_scales(prior) ** -2.0)
    return np.linalg.solve(precision, x.T @ y / task.noise**2), precision


def factorised(
    task: Known, prior: Prior, mean_field: bool, found_sd: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation of every weight, when columns are orthogonal or there is no data.

    Every weight then has a posterior of its own, prior times a Gaussian. `mean_field`: those of the Gaussian q that
    minimises KL(q || posterior) instead, found numerically. A mixture prior gives that divergence two valleys (without
    data, at 0.14 and 0.62); with `found_sd` [d + 1] it is the bottom of the valley in which these standard deviations
    lie, since no descent can be asked for more.
    """
    x, y = standardised(task)
    curvature = 0 * x.sum(0) if task.empty else (x**2).sum(0) / task.noise**2
    linear = 0 * curvature if task.empty else x.T @ y / task.noise**2
    found = []
    for j, scale in enumerate(prior_scales(prior)):

        def log_density(w: np.ndarray, j: int = j, scale: float = scale) -> np.ndarray:
            value = prior.log_density(torch.as_tensor(w), torch.tensor(scale, dtype=torch.float64)).numpy()
            return linear[j] * w - 0.5 * curvature[j] * w**2 + value

        centre = linear[j] / (curvature[j] + scale**-2)
        width = (curvature[j] + scale**-2) ** -0.5
        first = width if found_sd is None else float(found_sd[j])
        found.append(_best_normal(log_density, centre, first) if mean_field else _moments(log_density, centre, width))
    mean, sd = zip(*found, strict=True)
    return np.array(mean), np.array(sd)


def _moments(log_density: Density, centre: float, width: float) -> tuple[float, float]:
    w = centre + width * np.linspace(-30, 30, 400_001)
    log = log_density(w)
    p = np.exp(log - log.max())
    p /= p.sum()
    mean = float(p @ w)
    return mean, float(np.sqrt(p @ (w - mean) ** 2))


def _best_normal(log_density: Density, centre: float, width: float) -> tuple[float, float]:
    def divergence(parameters: np.ndarray) -> float:
        mean, log_sd = parameters
        # fine trapezoid in z: a Laplace density has a kink, on which Gauss nodes would be inexact
        z = np.linspace(-9, 9, 4001)
        q = np.exp(-0.5 * z**2)
        return float(-log_sd - (q / q.sum()) @ log_density(mean + np.exp(log_sd) * z))

    start = np.array([centre, np.log(width)])
    simplex = start + np.array([[0.0, 0.0], [0.1 * width, 0.0], [0.0, 0.1]])  # small: not to leap into another valley
    options = {"xatol": 1e-7, "initial_simplex": simplex}
    best = scipy.optimize.minimize(divergence, start, method="Nelder-Mead", options=options)
    return float(best.x[0]), float(np.exp(best.x[1]))


def banana(task: Known, prior: Prior) -> dict[str, float]:
    """Mean and sd of b and of w^2 under the curved target, by quadrature on a grid."""
    scale = [float(prior.scale_of(torch.zeros(shape, dtype=torch.float64))) for shape in ((1, 1), (1,))]
    w, b = np.meshgrid(np.linspace(-8, 8, 1601) * scale[0], np.linspace(-8, 8, 1601) * scale[1])
    log = -0.5 * (w / scale[0]) ** 2 - 0.5 * (b / scale[1]) ** 2 - 0.5 * task.rows * (w**2 + b) ** 2 / task.noise**2
    p = np.exp(log - log.max())
    p /= p.sum()
    values = {"b": b, "w^2": w**2}
    means = {name: float((p * value).sum()) for name, value in values.items()}
    sds = {f"sd {name}": float(np.sqrt((p * (value - means[name]) ** 2).sum())) for name, value in values.items()}
    return means | sds
