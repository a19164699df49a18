"""Made-up results with known numbers: what a run would hand to the store."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import partial
from pathlib import Path

import numpy as np

from bnnbench.records import (
    CellRecord,
    EvaluationRecord,
    MethodRecord,
    MetricRecord,
    Outcome,
    Score,
    SessionRecord,
    Status,
    TaskRecord,
    canonical,
)
from bnnbench.store.store import ResultStore

NAMES = ("constant", "map", "ensemble-deep", "mc-dropout", "bbp-gaussian", "sgld")
METHODS = tuple(MethodRecord(name, 1, "", (), order) for order, name in enumerate(NAMES))
UCI = ("housing", "concrete", "energy", "power", "wine", "yacht")
TASKS = (
    TaskRecord("toy-homoscedastic", "1+sha256:a", "regression", ("toy",), "", 0),
    TaskRecord("toy-heteroscedastic", "1+sha256:b", "regression", ("toy",), "", 1),
    TaskRecord("toy-antoran", "1+sha256:c", "regression", ("toy",), "", 2),
    TaskRecord("diabetes", "1+sha256:d", "regression", ("starter",), "", 3),
    TaskRecord("digits", "1+sha256:e", "classification", ("starter",), "", 4),
    *(
        TaskRecord(name, f"1+sha256:{i}", "regression", ("uci",), "", 5 + i,
                   ("Holds 240 duplicate rows of 1,599.",) if name == "wine" else ())
        for i, name in enumerate(UCI)
    ),
)  # fmt: skip
headline = partial(MetricRecord, headline=True)
METRICS = (
    headline("log_likelihood", 1, "nats per point", "mean log density of the predictive mixture"),
    headline("rmse", -1, "units of the target", "root mean squared error of the predictive mean"),
    headline("crps", -1, "units of the target", "continuous ranked probability score"),
    headline("calibration_error", -1, "", "mean distance of the PIT's ECDF from uniform"),
    headline("error", -1, "", "share of wrong classes"),
    headline("ece", -1, "", "expected calibration error"),
    headline("brier", -1, "", "Brier score"),
)
SESSION = SessionRecord(
    "0123abc",
    False,
    {"torch": "2.15", "numpy": "2.1"},
    "cpu",
    "laptop",
    2,
    "bnnbench run --task all --db /home/me/results.db",
)


def cell(task: str, method: str, rule: str = "10fold", index: int = 0, budget: str = "full", **options) -> CellRecord:
    """A cell of a registered task; options: seed, config (what differs from the default), versions."""
    version = options.get("task_version") or next(t.version for t in TASKS if t.name == task)
    config = options.get("config", {})
    label = ",".join(f"{k}={v}" for k, v in config.items()) or "default"
    return CellRecord(
        task, version, method, options.get("method_version", 1), canonical({"lr": 0.1} | config), label, rule, index,
        options.get("seed", 0), budget,
    )  # fmt: skip


def outcome(
    record: CellRecord, value: float, metric: str = "log_likelihood", stderr: float = 0.1, n: int = 50
) -> Outcome:
    """A finished cell with one score on the test rows and a slightly better one on training and validation rows."""
    rows = (("test", 0.0), ("train", 0.1), ("validation", 0.05))
    return Outcome(
        record, Status.OK, steps=1000, gradients=5000, pack_size=10, wall_s=20.0, parameters=2701, compiled=True,
        evaluations=tuple(EvaluationRecord(name, n, (Score(metric, value + up, stderr),)) for name, up in rows),
    )  # fmt: skip


def lost(record: CellRecord, status: Status = Status.DIVERGED, message: str = "NaN at step 7") -> Outcome:
    """A cell without scores."""
    return Outcome(record, status, message, pack_size=10, wall_s=1.0)


QUALITY = dict(zip(NAMES, (-1.3, -0.35, -0.05, -0.15, -0.3, -0.2), strict=True))
SCALE = dict(zip(UCI, (9.0, 16.0, 10.0, 17.0, 0.8, 15.0), strict=True)) | {"diabetes": 77.0}
NOISE = dict(zip(UCI, (0.3, 0.3, 0.05, 0.23, 0.75, 0.05), strict=True)) | {"diabetes": 0.7}
TOYS = ("toy-homoscedastic", "toy-heteroscedastic", "toy-antoran")


def gallery(splits: int = 10, names: Sequence[str] = NAMES, extra: bool = True) -> list[Outcome]:
    """Plausible results of everything: toys, starter and UCI, with failures, an outlier and tuned configurations."""
    rng = np.random.default_rng(0)
    found: list[Outcome] = []
    for place, name in enumerate(names):
        quality = QUALITY.get(name, -0.2 - 0.02 * place)
        found += [_toy(rng, task, name, quality) for task in TOYS]
        for index in range(splits):
            found += [_regression(rng, cell(t, name, index=index), quality) for t in ("diabetes", *UCI)]
            found.append(_classification(rng, cell("digits", name, index=index), quality))
            if name == "sgld" and extra:
                found += [
                    _regression(rng, cell(t, name, index=index, config={"lr": 0.01}), quality + 0.05) for t in UCI
                ]
    return [_spoil(o) for o in found] if extra else found


def _spoil(o: Outcome) -> Outcome:
    where = (o.cell.method, o.cell.task, o.cell.index, o.cell.label)
    if where in (("sgld", "yacht", 3, "default"), ("sgld", "yacht", 7, "default")):
        return lost(o.cell)
    if where[:2] == ("mc-dropout", "power"):
        return lost(o.cell, Status.FAILED, "RuntimeError: out of memory | asked for 3 GiB")
    return o


def _regression(rng: np.random.Generator, record: CellRecord, quality: float) -> Outcome:
    scale, noise = SCALE[record.task], NOISE[record.task]
    shared = np.random.default_rng(record.index + 100).normal(0, 0.12)  # an easy split is easy for all
    constant = record.method == "constant"
    level = 0.0 if constant else -np.log(noise) * 0.8 + quality
    value = -np.log(scale) - 1.42 + level + shared + rng.normal(0, 0.05)
    if record.method == "bbp-gaussian" and record.task == "energy":
        value -= 60.0
    rmse = scale * (1.0 if constant else noise * (1 - 0.5 * quality)) * np.exp(-shared / 2 + rng.normal(0, 0.03))
    shape = 0.9 + 0.5 * (quality + 0.2) if not constant else 1.0
    scores = {
        "log_likelihood": value,
        "rmse": rmse,
        "crps": 0.56 * rmse,
        "calibration_error": abs(rng.normal(0.02, 0.01)),
    }
    test = EvaluationRecord("test", 50, _scores(scores), {"pit_ecdf": _pit(rng, shape)})
    train = EvaluationRecord("train", 400, _scores({"log_likelihood": value + 0.3, "rmse": 0.8 * rmse}))
    validation = EvaluationRecord("validation", 45, _scores({"log_likelihood": value + 0.02}))
    return _done(record, (test, train, validation), quality, value)


def _scores(values: dict[str, float]) -> tuple[Score, ...]:
    return tuple(Score(k, float(v), abs(float(v)) * 0.05) for k, v in values.items())


def _pit(rng: np.random.Generator, shape: float) -> dict[str, np.ndarray]:
    level = np.linspace(0.01, 0.99, 99)
    draws = rng.beta(shape, shape, 60)
    return {"level": level, "ecdf": (draws[None] <= level[:, None]).mean(1)}


def _done(record: CellRecord, evaluations: Iterable[EvaluationRecord], quality: float, value: float) -> Outcome:
    step = np.arange(0, 20001, 400)
    rng = np.random.default_rng(record.index)
    decay = np.exp(-step / 2500)
    loss = -value + 3 * decay + rng.normal(0, 0.05, len(step))
    check = value - 4 * decay - (0.3 * (step / 20000) ** 2 if quality < -0.25 else 0)
    members, extra = 5 if "ensemble" in record.method else 1, len(record.task)
    return Outcome(
        record, Status.OK, steps=20000, gradients=20000 * members, step_kept=12000, compiled=True, pack_size=10,
        wall_s=42.0 * members + 10 * extra, peak_memory_mb=300, parameters=(11_901 + 100 * extra) * members,
        evaluations=tuple(evaluations), curves={"training": {"step": step, "loss": loss, "validation": check}},
    )  # fmt: skip


def _classification(rng: np.random.Generator, record: CellRecord, quality: float) -> Outcome:
    error = 0.9 if record.method == "constant" else 0.03 - 0.05 * quality + rng.normal(0, 0.006)
    lower = np.linspace(0, 0.9, 10)
    confidence = lower + 0.05
    count = np.round(180 * np.exp(6 * (lower - 1)) / np.exp(6 * (lower - 1)).sum())
    accuracy = np.clip(confidence + 0.4 * quality * confidence * (1 - confidence) + rng.normal(0, 0.04, 10), 0, 1)
    if record.method == "constant":
        count = np.where(lower < 0.15, 90.0, 0.0) * (lower > 0.05) * 2
        accuracy = np.full(10, 0.1)
    values = {
        "log_likelihood": -3 * error + rng.normal(0, 0.01),
        "error": error,
        "ece": 0.02 - 0.05 * quality,
        "brier": 1.4 * error,
    }
    empty = count == 0
    curve = {
        "lower": lower,
        "confidence": np.where(empty, np.nan, confidence),
        "accuracy": np.where(empty, np.nan, accuracy),
        "count": count,
    }
    test = EvaluationRecord("test", 180, _scores(values), {"reliability": curve})
    train = EvaluationRecord("train", 1450, _scores({"log_likelihood": -1.5 * error, "error": 0.5 * error}))
    validation = EvaluationRecord("validation", 160, _scores({"log_likelihood": -3 * error}))
    return _done(record, (test, train, validation), quality, -3 * error)


def _toy(rng: np.random.Generator, task: str, method: str, quality: float) -> Outcome:
    fixed = np.random.default_rng(len(task))
    x = np.concatenate([fixed.uniform(-4, -1, 40), fixed.uniform(1, 3, 40)])
    grid = np.linspace(-6, 6, 200)

    def noise(v: np.ndarray) -> np.ndarray:
        return 0.05 + 0.3 * np.abs(v + 2) if task == "toy-heteroscedastic" else np.full_like(v, 0.3)

    def truth(v: np.ndarray) -> np.ndarray:
        return np.sin(1.3 * v) + 0.3 * v

    y = truth(x) + noise(x) * fixed.normal(size=len(x))
    gap = np.clip(np.abs(grid) - 3.5, 0, None) + np.clip(1 - np.abs(grid), 0, None)
    spread = (0.1 + 0.5 * gap) * {"constant": 0.0, "map": 0.0, "ensemble-deep": 1.0, "sgld": 8.0}.get(method, 0.4)
    mean = (
        np.full_like(grid, y.mean())
        if method == "constant"
        else truth(grid) + 0.2 * quality * grid + 0.1 * np.sin(grid * 3)
    )
    aleatoric = np.full_like(grid, y.std()) if method == "constant" else noise(grid) * (1 + 0.2 * rng.normal())
    bands = {
        "x": grid,
        "mean": mean,
        "aleatoric_std": aleatoric,
        "epistemic_std": spread,
        "total_std": np.hypot(aleatoric, spread),
    }
    if task != "toy-antoran":
        bands |= {"truth": truth(grid), "truth_std": noise(grid)}
    values = {"log_likelihood": quality - 0.3, "rmse": 0.5 - 0.3 * quality}
    evaluations = (
        EvaluationRecord("test", 1000, _scores(values), {"pit_ecdf": _pit(rng, 1.0)}),
        EvaluationRecord("train", 80, _scores(values), {"data": {"x": x, "y": y}}),
        EvaluationRecord("grid", 200, (), {"bands": bands}),
    )
    return _done(cell(task, method, "fixed"), evaluations, quality, quality)


def pages(out: Path) -> str:
    """All pages of a report in Markdown, the first one first, each after its name."""
    names = sorted((path.name for path in out.glob("*.md")), key=lambda name: (name != "index.md", name))
    return "\n".join(f"FILE {name}\n\n{(out / name).read_text(encoding='utf-8')}" for name in names)


def fill(path: Path, outcomes: Iterable[Outcome], methods: Iterable[MethodRecord] = METHODS) -> ResultStore:
    """A database of these outcomes."""
    store = ResultStore(path)
    store.register(methods, TASKS, METRICS)
    store.record(store.start_session(SESSION), outcomes)
    return store
