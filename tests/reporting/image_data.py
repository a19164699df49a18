"""Made-up results of image tasks: every method, rotated, out-of-distribution and attacked images, recordings."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from report_data import fill
from suite_data import POINT, PRUNABLE

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
from bnnbench.store.store import ResultStore

TAGS = {"bbp": "variational", "laplace": "laplace", "sgld": "sampling", "psgld": "sampling", "sghmc": "sampling",
        "csgmcmc": "sampling"}  # fmt: skip
IMAGE_NAMES = (
    "constant", "map", "ensemble-deep", "ensemble-bootstrap", "mc-dropout", "bbp-gaussian", "bbp-laplace",
    "bbp-mixture", "bbp-local", "bbp-flipout", "laplace-kron", "laplace-diag", "laplace-last", "swag", "sgld", "psgld",
    "sghmc", "csgmcmc",
)  # fmt: skip
IMAGE_METHODS = tuple(
    MethodRecord(name, 1, "", tuple(t for p, t in TAGS.items() if name.split("-")[0] == p), place)
    for place, name in enumerate(IMAGE_NAMES)
)
WARNING = "Never compare these numbers with published ones."
IMAGE_TASKS = (
    TaskRecord("mnist", "1+sha256:m", "classification", ("images",), "", 20),
    TaskRecord("mnist-lenet", "1+sha256:l", "classification", ("images",), "", 21),
    TaskRecord("cifar10-sample-lenet", "1+sha256:s", "classification", ("images-sample",), "", 22, (), WARNING),
)
IMAGE_METRICS = tuple(
    MetricRecord(name, better, "", "")
    for name, better in (
        ("entropy_total", 0),
        ("auroc_total", 1),
        ("auroc_epistemic", 1),
        ("aupr_total", 1),
        ("fpr95_total", -1),
    )
)
TOP = float(np.log(10))
FRACTIONS = ("0.10", "0.50", "0.75", "0.90", "0.95", "0.98", "0.99", "0.995")
LAYERS = ("fc1", "fc2", "out")
MASKED = "sghmc"  # whose own gradients lead nowhere


def images(task: str = "mnist", names: tuple[str, ...] = IMAGE_NAMES[1:], seeds: int = 1) -> list[Outcome]:
    """A cell a method and seed with all evaluations of a full run on MNIST."""
    return [image_outcome(task, name, seed) for name in names for seed in range(seeds)]


def image_store(path: Path, outcomes: list[Outcome]) -> ResultStore:
    """A database of these outcomes."""
    store = fill(path, [], IMAGE_METHODS)
    store.register((), IMAGE_TASKS, IMAGE_METRICS)
    store.record(1, outcomes)
    return store


def image_cell(task: str, method: str, seed: int = 0) -> CellRecord:
    """A cell of the official split."""
    version = next(t.version for t in IMAGE_TASKS if t.name == task)
    return CellRecord(
        task, version, method, 1, canonical({"lr": 1e-3}), "default", "official", 0, seed, "full"
    )  # fmt: skip


def image_outcome(task: str, name: str, seed: int = 0) -> Outcome:
    """Everything known of one cell."""
    place = IMAGE_NAMES.index(name)
    rng = np.random.default_rng([place, seed])
    error = 0.9 if name == "constant" else 0.014 + 0.012 * rng.uniform()
    share = 0.0 if name in POINT else float(rng.uniform(0.25, 0.6))  # epistemic part of the entropy
    found = [_clean(rng, n, size, error * f, share, name) for n, size, f in
             (("test", 10_000, 1), ("train", 2_000, 0.3), ("validation", 5_000, 1))]  # fmt: skip
    turn = 55 + 15 * rng.uniform()
    found += [_shifted(f"rotation-{a:03d}", _lost(a / turn, error), (0.9 + share) * _lost(a / 75, 0.02), share)
              for a in range(15, 181, 15)]  # fmt: skip
    found += [_outside(rng, outside, level, share) for outside, level in (("kmnist", 0.9), ("notmnist", 1.2))]
    found += _attacked(rng, name, error, share)
    if name in PRUNABLE:
        found += [_pruned(f, error, place) for f in FRACTIONS]
    if name != "constant":
        found.append(EvaluationRecord("rotated-digit", 10, (), {"violins": _violins(rng, share)}))
    return Outcome(
        image_cell(task, name, seed), Status.OK, steps=17_200, gradients=17_200, step_kept=15_000, compiled=True,
        pack_size=1, wall_s=60.0 + 15 * place + seed, peak_memory_mb=900, parameters=2_395_210,
        evaluations=tuple(found), curves=_curves(rng, name),
    )  # fmt: skip


def _lost(x: float, floor: float) -> float:
    """From `floor` up to 0.85 as x passes one."""
    return float(floor + (0.85 - floor) / (1 + np.exp(-6 * (x - 1))))


def _scores(values: dict[str, float], n: int) -> tuple[Score, ...]:
    def stderr(metric: str, v: float) -> float | None:
        if metric.startswith(("aupr", "fpr", "ece")):
            return None
        return float(np.sqrt(max(v * (1 - v), 0) / n)) if metric == "error" else abs(float(v)) * 0.02

    return tuple(Score(k, float(v), stderr(k, float(v))) for k, v in values.items())


def _uncertain(entropy: float, share: float) -> dict[str, float]:
    """Entropies and covariances of an average entropy in nats."""
    whole = 0.9 * entropy / TOP
    found = {"entropy_total": entropy, "entropy_aleatoric": entropy * (1 - share), "entropy_epistemic": entropy * share}
    for suffix, factor in (("", 1.0), ("_normalised", 0.4)):
        found |= {f"kwon_aleatoric{suffix}": factor * whole * (1 - share)}
        found |= {f"kwon_epistemic{suffix}": factor * whole * share}
    return found


def _labelled(error: float, entropy: float, share: float) -> dict[str, float]:
    scores = {"log_likelihood": -(2.5 + 2 * (1 - share)) * error, "error": error, "brier": 1.5 * error}
    return scores | {"ece": 0.3 * error * (1 - share)} | _uncertain(entropy, share)


def _shifted(name: str, error: float, entropy: float, share: float) -> EvaluationRecord:
    return EvaluationRecord(name, 2_000, _scores(_labelled(min(error, 0.98), min(entropy, 2.2), share), 2_000))


def _clean(rng: np.random.Generator, name: str, n: int, error: float, share: float, method: str) -> EvaluationRecord:
    entropy = 2 * error if method != "constant" else TOP
    curves = {}
    if name == "test":
        curves = {"reliability": _reliability(rng, share), "entropy": _entropy(rng, 0.05 + error, share)}
        if method != "constant":
            curves["weights"] = _weights(rng, method)
    return EvaluationRecord(name, n, _scores(_labelled(error, entropy, share), n), curves)


def _outside(rng: np.random.Generator, name: str, entropy: float, share: float) -> EvaluationRecord:
    entropy *= 0.4 + share
    area = 0.9 + 0.1 * share
    values = {"auroc_total": area, "auroc_epistemic": area - 0.01 if share else 0.5, "aupr_total": area - 0.02}
    values |= {"fpr95_total": 1.5 * (1 - area)} | _uncertain(entropy, share)
    return EvaluationRecord(name, 2_000, _scores(values, 2_000), {"entropy": _entropy(rng, entropy, share)})


def _entropy(rng: np.random.Generator, mean: float, share: float) -> dict[str, np.ndarray]:
    draws = TOP * rng.beta(1.5 * mean / TOP, 1.5 * (1 - mean / TOP), 2_000)
    part = share * draws * rng.uniform(0.6, 1.0, 2_000)
    level = np.linspace(0, 1, 201)
    return {"level": level, "total": np.quantile(draws, level), "epistemic": np.quantile(part, level)}


def _attacked(rng: np.random.Generator, name: str, error: float, share: float) -> list[EvaluationRecord]:
    weak = 0.15 if name == MASKED else rng.uniform(0.6, 1.4)
    found = []

    def add(label: str, power: float) -> None:
        found.append(_shifted(label, _lost(power, error), 1.3 * (0.1 + share) * _lost(power, 0.02), share))

    for eps in np.arange(0.05, 0.301, 0.05):
        add(f"fgsm-{eps:.2f}", 8 * eps * weak)
    for eps in (0.10, 0.30):
        add(f"pgd-{eps:.2f}", 12 * eps * weak)
    for norm in np.arange(0.05, 0.701, 0.05):
        add(f"fgsm-norm-{norm:.2f}", 1.6 * norm * weak)
    for label, power in (("fgsm-0.10", 0.5), ("fgsm-0.30", 0.9), ("pgd-0.10", 0.7)):
        add(f"transfer-{label}", power)
    add("fgsm-0.10-all", 0.5)
    return found


def _pruned(fraction: str, error: float, place: int) -> EvaluationRecord:
    f = float(fraction)
    loss = (0.2 + place / 20) * 0.002 * (f / (1 - f))
    return EvaluationRecord(f"pruned-{fraction}", 2_000, _scores(
        {"error": min(error + loss, 0.9), "log_likelihood": -3 * (error + loss)}, 2_000))  # fmt: skip


def _reliability(rng: np.random.Generator, share: float) -> dict[str, np.ndarray]:
    lower = np.linspace(0, 1, 16)[:-1]
    count = np.round(10_000 * np.exp(14 * (lower - 1)) / np.exp(14 * (lower - 1)).sum())
    confidence = np.where(count > 0, lower + 1 / 30, np.nan)
    accuracy = np.clip(confidence + (share - 0.4) * 0.5 + rng.normal(0, 0.05, 15), 0, 1)
    accuracy[-1] = 0.99
    return {"lower": lower, "confidence": confidence, "accuracy": accuracy, "count": count}


def _weights(rng: np.random.Generator, name: str) -> dict[str, np.ndarray]:
    edges = np.linspace(-4, 4, 81)
    middle = 0.5 * (edges[1:] + edges[:-1])
    density = np.exp(-0.5 * (middle / (0.08 if name == "map" else rng.uniform(0.3, 1.0))) ** 2)
    return {"lower": edges[:-1], "upper": edges[1:], "density": density / (density.sum() * 0.1)}


def _violins(rng: np.random.Generator, share: float) -> dict[str, np.ndarray]:
    """A three, rotated: first 3, then 5 or 8 or 7; the plain network always decides for one."""
    level = np.linspace(0, 1, 21)
    parts = []
    for point in range(10):
        logits = np.zeros(10)
        unsure = np.exp(-(((point - 4.5) / 2.5) ** 2))
        logits[3] = 9 * (1 - point / 7) * (point < 7)
        logits[[5, 7, 8]] = 1.5 * point * np.array([0.6, 1.1, 0.9])
        draws = logits + 8 * share * unsure * rng.normal(size=(100, 10))
        p = np.exp(draws - draws.max(1, keepdims=True))
        q = np.quantile(p / p.sum(1, keepdims=True), level, axis=0)
        parts += [(point, c, at, q[i, c]) for c in range(10) for i, at in enumerate(level)]
    point, label, at, quantile = map(np.array, zip(*parts, strict=True))
    return {"point": point.astype(float), "class": label.astype(float), "level": at, "quantile": quantile}


def _curves(rng: np.random.Generator, name: str) -> dict[str, dict[str, np.ndarray]]:
    step = np.linspace(0, 17_200, 41)
    nll = 0.02 + 2.2 * np.exp(-step / 1_500) + 0.002 * np.abs(rng.normal(size=41))
    check = -0.07 * rng.uniform(0.8, 1.2) - 2 * np.exp(-step / rng.uniform(900, 1_500)) - 2e-6 * step
    training = {"step": step, "loss": nll, "validation": check}
    if name.startswith("bbp"):
        kl = 4 + 40 * rng.uniform(0.7, 1.3) * np.exp(-step / 6_000)
        training |= {"kl": kl, "nll": nll, "loss": kl + nll}
    if name == "constant":
        return {"training": training}
    return {"training": training, "recording": _recording(rng, step)}


def _recording(rng: np.random.Generator, step: np.ndarray) -> dict[str, np.ndarray]:
    found = {"step": step}
    for i, layer in enumerate(LAYERS):
        rise = 1 - np.exp(-step / (3_000 * (i + 1)))
        spread = (1 + i + 3 * rise) * rng.uniform(0.8, 1.2)
        centre = -0.4 * rise * i
        found |= {f"weight_mean/{layer}": -0.004 * rise / (i + 1), f"weight_std/{layer}": 0.03 * (i + 1) + 0.02 * rise}
        found |= {f"activation_mean/{layer}": centre, f"activation_std/{layer}": spread}
        for q, z in (("q05", -1.64), ("q25", -0.67), ("q50", 0.0), ("q75", 0.67), ("q95", 1.64)):
            found[f"activation_{q}/{layer}"] = centre + z * spread
    return found
