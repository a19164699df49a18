"""Generated tables as users have them, each beside a plain twin that says the same: the scores must agree.

A table differs from its twin by units and offsets of columns, by the values of constant columns, by the type of its
target or the style of its labels, and by whether it is an array, a DataFrame, lists or a tensor. Tiny tables are among
them: what is too small is too small for both, in a sentence.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from helpers import PACKED

import bnnbench
from bnnbench.data.arrays import Data
from bnnbench.errors import UserError
from bnnbench.methods import METHODS
from bnnbench.tasks import Task

# In nats and standard deviations, relative to scores above 1: what 20 steps of a network in float32 make of columns
# that differ in their last digit (mostly 1e-8). HMC is chaotic: a last digit becomes percents.
# Wrong units and wrong labels are wrong by far more.
ALLOWED = {"hmc": 0.1}
OTHERS = 1e-3
STYLES = {
    "whole": lambda c: c,
    "from 1": lambda c: c + 1,
    "floats": lambda c: c.astype(float),
    "identifiers": lambda c: 1_000_003 + 17 * c,
    "text": lambda c: np.array([f"class {i}" for i in c]),
    "objects": lambda c: np.array([f"class {i}" for i in c], dtype=object),
    "negative": lambda c: 2 * c - 5,
    "bytes": lambda c: c.astype(np.uint8),
}
CONTAINERS = {
    "array": lambda x: x,
    "frame": lambda x: pd.DataFrame(x, columns=[f"column {j}" for j in range(x.shape[1])]),
    "lists": lambda x: x.tolist(),
    "tensor": torch.tensor,
}
Scores = dict[tuple[str, str], float]


@dataclass(frozen=True)
class Twins:
    """A plain table and one that says the same, whose target has the unit `a`; `sd` of the plain target."""

    kind: str
    plain: tuple[Any, Any]
    other: tuple[Any, Any]
    a: float
    sd: float
    words: str


def twins(number: int) -> Twins:
    """The table of a number; every fifth is tiny, every second a classification."""
    rng = np.random.default_rng([20, number])
    n = int(rng.integers(1, 14)) if number % 5 == 4 else int(rng.integers(30, 70))
    d = int(rng.integers(1, 5))
    x = rng.normal(size=(n, d)) * rng.choice([1.0, 50.0], d)
    if rng.random() < 0.3:
        x[:, 0] = np.round(x[:, 0])
    signal = np.tanh(x[:, 0]) + 0.3 * x[:, -1] / x[:, -1].std() + 0.2 * rng.normal(size=n) if n > 1 else x[:, 0]
    if rng.random() < 0.3:
        x = np.hstack([x, x[:, :1]])  # a column that stands there twice
    units = 10.0 ** rng.uniform(-6, 6, x.shape[1])
    spread = np.where(np.ptp(x, 0) > 0, x.std(0), 1.0)
    offsets = 10.0 ** rng.uniform(-2, 8, x.shape[1]) * rng.choice([-1, 0, 1], x.shape[1])
    moved, constant = units * (x + offsets * spread), rng.random() < 0.4
    if constant:
        value = rng.choice([0.1, 1 / 3, -7e6, 1e9 + 0.1])
        x, moved = np.hstack([x, np.zeros((n, 1))]), np.hstack([moved, np.full((n, 1), value)])
    container = rng.choice(list(CONTAINERS))
    words = f"n={n}, {container}, units {units}, offsets {offsets}, constant {constant}"
    if number % 2:
        levels = int(rng.integers(2, 4))
        classes = np.digitize(signal, np.quantile(signal, np.arange(1, levels) / levels))
        classes = np.unique(classes, return_inverse=True)[1]
        style = "truth" if levels == 2 and rng.random() < 0.3 else rng.choice(list(STYLES))
        labels = classes.astype(bool) if style == "truth" else STYLES[style](classes)
        other = CONTAINERS[container](moved), labels
        return Twins("classification", (x, classes), other, 1.0, 1.0, f"{words}, {style}")
    a, offset = float(10.0 ** rng.uniform(-6, 6)), float(10.0 ** rng.uniform(-2, 8))
    y = a * (signal + offset)
    if rng.random() < 0.3:
        signal, a = np.round(10 * signal), 1.0
        y = signal.astype(int)
    sd = float(signal.std())
    return Twins("regression", (x, signal), (CONTAINERS[container](moved), y), a, sd, f"{words}, a={a}, {offset=}")


def scores_of(x: Any, y: Any, kind: str, methods: list[str], folder: Path) -> tuple[dict[str, str], Scores] | str:
    """Status by method, and scores on the test rows; or the sentence that refuses the table."""
    n, db = len(y), folder / "results.db"
    fixed = np.arange(n // 4, n), np.arange(n // 4)
    task = Task("generated", kind, ("own",), ("fixed",), (6,), loader=lambda: Data.of(x, y, fixed=fixed))
    try:
        bnnbench.run(methods, task, budget="smoke", db=db, threads=1)
    except UserError as error:
        return str(error)
    cells, scores = bnnbench.scores(db), bnnbench.scores(db, evaluation="test")
    status = dict(zip(cells["method"], cells["status"], strict=True))
    return status, dict(zip(zip(scores["method"], scores["metric"], strict=True), scores["value"], strict=True))


def compare(number: int, methods: list[str], folder: Path) -> bool:
    """The law for one table; returns whether it was large enough to run."""
    pair = twins(number)
    methods = [name for name in methods if pair.kind in METHODS.get(name).supports]
    found = []
    for which, (x, y) in (("plain", pair.plain), ("other", pair.other)):
        (own := folder / which).mkdir()
        found.append(scores_of(x, y, pair.kind, methods, own))
    plain, other = found
    if isinstance(plain, str) or isinstance(other, str):
        for sentence in (plain, other):
            assert isinstance(sentence, str), f"{number}, {pair.words}: {plain} / {other}"
            assert "'generated'" in sentence
            assert "Error" not in sentence, f"{number}: {sentence}"
        return False
    assert plain[0] == other[0], f"{number}, {pair.words}"
    assert set(plain[0]) == set(methods)
    for method in methods:
        allowed = ALLOWED.get(method, OTHERS)
        for metric in ("log_likelihood", "rmse" if pair.kind == "regression" else "brier"):
            unit = pair.a * pair.sd if metric == "rmse" else 1.0
            shift = np.log(pair.a) if pair.kind == "regression" and metric == "log_likelihood" else 0.0
            if (method, metric) not in plain[1]:
                continue
            want = plain[1][method, metric] / (pair.sd if metric == "rmse" else 1.0)
            assert (other[1][method, metric] / unit + shift) == pytest.approx(
                want, abs=allowed * max(1.0, abs(want)), nan_ok=True
            ), f"{number}, {method}, {metric}, {pair.words}"
    return True


def tried(numbers: range, methods: Iterator[list[str]], folder: Path) -> int:
    """How many of these tables were run through what methods; the others were refused."""
    run = 0
    for number, names in zip(numbers, methods, strict=False):
        (own := folder / str(number)).mkdir()
        run += compare(number, names, own)
    return run


def every() -> list[str]:
    return [method.name for method in PACKED if {"regression", "classification"} & set(method.supports)]


def in_turn(count: int) -> Iterator[list[str]]:
    """So many methods a table, the next ones of all."""
    names, first = every(), 0
    while True:
        yield [names[(first + i) % len(names)] for i in range(count)]
        first += count


def test_a_few_generated_tables(tmp_path: Path) -> None:
    """A regression and a classification; and tables that are too small."""
    assert tried(range(2, 4), iter([["map"], ["constant"]]), tmp_path) == 2
    for number in (69, 94):
        assert len(twins(number).plain[0]) < 4
        assert tried(range(number, number + 1), iter([["map"]]), tmp_path) == 0


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_generated_tables_through_every_method(tmp_path: Path) -> None:
    assert tried(range(20), iter([every()] * 20), tmp_path) >= 15


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_generated_tables_through_four_methods_in_turn(tmp_path: Path) -> None:
    assert tried(range(20, 220), in_turn(4), tmp_path) >= 150
