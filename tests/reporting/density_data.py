"""Made-up results of density estimation: one bent normal as the truth, methods that bend more or less as far."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from report_data import fill

from bnnbench.records import (
    CellRecord,
    EvaluationRecord,
    MethodRecord,
    MetricRecord,
    Outcome,
    Score,
    Status,
    TaskRecord,
    canonical,
)
from bnnbench.reporting.figures.flows import flow_figures
from bnnbench.reporting.figures.plot import Plot
from bnnbench.reporting.figures.style import styles
from bnnbench.reporting.figures.vae import vae_figures
from bnnbench.reporting.select import select
from bnnbench.store.store import ResultStore

QUALITY = {  # how far a method bends, the truth being 1; rows as in the report
    "flow-gaussian": 0.0, "flow-nice": 0.6, "flow-realnvp": 0.9, "flow-maf": 0.95, "flow-iaf": 0.93,
    "flow-spline-coupling": 1.0, "flow-spline-ar": 1.01, "flow-planar": 0.7, "flow-planar [layers=2]": 0.2,
    "flow-planar [layers=8]": 0.5, "flow-radial": 0.4, "flow-glow": 0.85,
}  # fmt: skip
ROWS = tuple(QUALITY)
FEW = ("flow-gaussian", "flow-iaf", "flow-planar", "flow-planar [layers=2]", "flow-planar [layers=8]")
SORTED = ("flow-gaussian", "flow-iaf", "flow-planar [layers=2]", "flow-planar [layers=8]", "flow-planar")  # as drawn
METHODS = tuple(MethodRecord(n, 1, "", (), i) for i, n in enumerate(dict.fromkeys(r.partition(" [")[0] for r in ROWS)))
POINTS, ENERGIES, VAE = ("moons", "blobs", "letters"), tuple(f"energy-{i}" for i in range(1, 5)), "mnist-vae"
NAMES = (*POINTS, *ENERGIES, VAE)
TASKS = tuple(
    TaskRecord(n, "1+sha256:x", "density" if n in POINTS else "variational", ("density",), "", 40 + i)
    for i, n in enumerate(NAMES)
)
METRICS = (
    MetricRecord("nll", -1, "nats per point", "mean negative log density", headline=True),
    MetricRecord("kl_reverse", -1, "nats", "KL(q || p) on a grid"),
    MetricRecord("elbo", 1, "nats per image", "evidence lower bound", headline=True),
    MetricRecord("iw_log_likelihood", 1, "nats per image", "importance-weighted log-likelihood", headline=True),
)
EDGE = np.linspace(-4, 4, 40)


@dataclass(frozen=True)
class Bend:
    """x of noise z: rotated, and a parabola for the straight line z1 = 0, in closed form both ways."""

    bend: float
    turn: float = 0.0

    def forward(self, z: np.ndarray) -> np.ndarray:
        """Draws of noise."""
        y = np.stack([1.2 * z[:, 0], 0.4 * z[:, 1] + 0.6 * self.bend * (z[:, 0] ** 2 - 1)], axis=1)
        return y @ self._rotation.T

    def inverse(self, x: np.ndarray) -> np.ndarray:
        """Noise of draws."""
        y = x @ self._rotation
        z0 = y[:, 0] / 1.2
        return np.stack([z0, (y[:, 1] - 0.6 * self.bend * (z0**2 - 1)) / 0.4], axis=1)

    def log_density(self, x: np.ndarray) -> np.ndarray:
        """Nats."""
        return -0.5 * (self.inverse(x) ** 2).sum(1) - np.log(2 * np.pi * 1.2 * 0.4)

    @property
    def _rotation(self) -> np.ndarray:
        return np.array([[np.cos(self.turn), -np.sin(self.turn)], [np.sin(self.turn), np.cos(self.turn)]])


def truth(task: str) -> Bend:
    """Each task rotated in its own way."""
    return Bend(1.0, 0.7 * NAMES.index(task))


def learned(task: str, row: str) -> Bend:
    """Of a method."""
    return Bend(QUALITY[row], truth(task).turn)


def densities(rows: Sequence[str] = ROWS, tasks: Sequence[str] = NAMES, seeds: int = 1) -> list[Outcome]:
    """A cell a task, row and seed."""
    return [density_outcome(task, row, seed) for task in tasks for row in rows for seed in range(seeds)]


def density_store(path: Path, outcomes: list[Outcome]) -> ResultStore:
    """A database of these outcomes."""
    store = fill(path, [], METHODS)
    store.register((), TASKS, METRICS)
    store.record(1, outcomes)
    return store


def density_outcome(task: str, row: str, seed: int = 0) -> Outcome:
    """Everything known of one cell."""
    rng = np.random.default_rng([NAMES.index(task), ROWS.index(row), seed])
    method, _, label = row.rstrip("]").partition(" [")
    record = CellRecord(
        task, "1+sha256:x", method, 1, canonical({"label": label}), label or "default", "fixed", 0, seed, "full"
    )
    found = _vae(rng, row) if task == VAE else _plane(rng, task, row)
    return Outcome(record, Status.OK, steps=10_000, wall_s=30.0, parameters=5_000, evaluations=tuple(found))


def _plane(rng: np.random.Generator, task: str, row: str) -> list[EvaluationRecord]:
    flow, true = learned(task, row), truth(task)
    z = rng.normal(size=(1_000, 2))
    x = true.forward(np.random.default_rng(NAMES.index(task)).normal(size=(1_000, 2)))  # the same for all methods
    grid = np.stack(np.meshgrid(EDGE, EDGE), axis=-1).reshape(-1, 2)
    log_q, log_p = flow.log_density(grid), true.log_density(grid)
    curves = {
        "flow_samples": _columns(x=flow.forward(z), z=z),
        "flow_path": {"layer": [0]} | _columns(x=z[:1]),  # older results have series that no figure shows
        "flow_density": _columns(x=grid) | {"log_q": log_q, "log_p": log_p},
    }
    cell, q = (EDGE[1] - EDGE[0]) ** 2, np.exp(log_q)
    if task in ENERGIES:
        values = {"kl_reverse": float((q * (log_q - log_p)).sum() * cell), "mass": float(q.sum() * cell)}
        return [EvaluationRecord("test", 1_000, (), curves), EvaluationRecord("grid", len(grid), _scores(values))]
    curves["flow_data"] = _columns(x=x, z=flow.inverse(x))
    values = {"nll": -flow.log_density(x).mean(), "nll_floor": -true.log_density(x).mean()}
    return [EvaluationRecord("test", 1_000, _scores(values), curves)]


def _columns(**points: np.ndarray) -> dict[str, np.ndarray]:
    return {f"{name}{i}": values[:, i] for name, values in points.items() for i in (0, 1)}


def _vae(rng: np.random.Generator, row: str) -> list[EvaluationRecord]:
    """Rings for digits."""
    values = {"elbo": -90 + 3 * QUALITY[row], "iw_log_likelihood": -86 + 1.5 * QUALITY[row]}
    y, x = np.mgrid[:28, :28] - 13.5
    parts = []
    for number in range(10):
        ring = np.hypot(x * rng.uniform(0.7, 1.5), y) - rng.uniform(4, 9)
        for kind, width in enumerate((1.0, 1.6, 1.4)):
            parts.append((kind, number, np.exp(-0.5 * ((ring + 2 * (kind == 2)) / width) ** 2).ravel()))
    series = {
        "kind": np.repeat([kind for kind, _, _ in parts], 784),
        "image": np.repeat([number for _, number, _ in parts], 784),
        "pixel": np.concatenate([pixels for _, _, pixels in parts]),
    }
    return [EvaluationRecord("test", 10_000, _scores(values, 0.3), {"vae_images": series})]


def _scores(values: dict[str, float], error: float = 0.02) -> tuple[Score, ...]:
    return tuple(Score(name, float(value), error) for name, value in values.items())


def figures(store: ResultStore) -> dict[str, Plot]:
    """All that is drawn of the only section, by name."""
    selection = select(store)
    (section,) = selection.sections
    known = styles(selection.methods, section.rows)
    return {p.name: p for make in (flow_figures, vae_figures) for p in make(selection, section, known)}


def stored(task: str, row: str, name: str) -> dict[str, np.ndarray]:
    """A series as it was stored."""
    return dict(density_outcome(task, row).evaluations[0].curves[name])


def panels(figure: Figure, across: int) -> np.ndarray:
    """The axes by line."""
    return np.array(figure.axes, dtype=object).reshape(-1, across)
