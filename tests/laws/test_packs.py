"""Laws of every method in the engine: what a cell comes to does not depend on the pack it is in."""

from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
import pytest
import torch
from helpers import (
    BROKEN,
    BUDGET,
    CPU,
    FIT,
    MADE_OF_OTHERS,
    PAIRS,
    TASKS,
    make_cells,
    make_pack,
    outcomes_of,
    replica,
    small,
)
from torch.testing import assert_close
from torch.utils._pytree import tree_leaves, tree_map, tree_structure

from bnnbench import random
from bnnbench.engine import predict
from bnnbench.engine.compile import TRACED_FROM, program
from bnnbench.engine.step import initial_state, make_step
from bnnbench.engine.stored import to_arrays
from bnnbench.engine.trace import Program
from bnnbench.engine.train import train
from bnnbench.evaluation.evaluator import Evaluator
from bnnbench.experiment.attempt import Settings
from bnnbench.experiment.progress import RunProgress
from bnnbench.methods import METHODS, Method
from bnnbench.methods.map import MAP
from bnnbench.model import Problem
from bnnbench.records import Status

every_method = pytest.mark.parametrize(("method", "task"), PAIRS)
KINDLESS = dict(reversed(PAIRS))  # the first task of each method: for what a kind of task has no part in
one_task_a_method = pytest.mark.parametrize(
    ("method", "task"),
    [pytest.param(*pair, marks=[] if KINDLESS[pair[0]] == pair[1] else pytest.mark.slow) for pair in PAIRS],
)
SHORT = replace(BUDGET, steps=8, validation_checks=2)


def trained(cells, dtype=torch.float64, compiled=False):
    """What training found, and how it went."""
    return _trained(tuple(cells), dtype, compiled)


@lru_cache(maxsize=2048)
def _trained(cells, dtype, compiled):
    return train(make_pack(list(cells), dtype), compiled)


def same(a, b) -> None:
    """The same to the bit."""
    assert_close(a, b, rtol=0, atol=0, equal_nan=True)


@every_method
def test_packed_equals_alone(method, task):
    """Folds of unequal size: also that padding is never drawn nor counted."""
    together = trained(make_cells(method, task, budget=SHORT))
    for fold in (0, 2):  # both shorter than the fold between them
        assert FIT[fold] < FIT[1]
        equals_alone(together, fold)


@pytest.mark.parametrize(
    "method",
    [
        pytest.param(method, marks=pytest.mark.slow if method.startswith(MADE_OF_OTHERS) else [])
        for method, task in PAIRS
        if task == "heteroscedastic" and method != "ensemble-mclmc"  # the walk of `mclmc`, longer: chaos outgrows 1e-8
    ],
)
def test_packed_equals_alone_for_a_hundred_updates(method):
    equals_alone(trained(make_cells(method)), 2)


def equals_alone(together, fold):
    cell = together[0].pack.cells[fold]
    alone = trained([cell])
    if cell.method.vmappable:
        assert_close(replica(*together, fold), replica(*alone, 0), rtol=1e-5, atol=1e-8)
    else:  # its state may hold the padding
        x = cell.task.data().x[:80]
        packed, own = Evaluator(together[0]).predictions([x] * 3)[fold], Evaluator(alone[0]).predictions([x])[0]
        assert_close(packed, own, rtol=1e-5, atol=1e-8)


@every_method
def test_neighbours_change_nothing(method, task):
    """Same shapes, other neighbours, one of them NaN from the first row to the last: the same to the bit."""
    with_sound = trained(make_cells(method, task, [0, 1, 2], SHORT), torch.float32)
    with_broken = trained(make_cells(method, task, [0, 1, BROKEN], SHORT), torch.float32)
    for r in (0, 1):
        same(replica(*with_broken, r), replica(*with_sound, r))
    if task != "classification":
        fit, history = with_broken
        assert fit.live.tolist() == [True, True, False]
        assert history.diverged_at.tolist() == [-1, -1, 0 if history.steps else -1]


@every_method
def test_a_resumed_part_of_a_pack_equals_the_whole(method, task):
    whole = trained(make_cells(method, task, budget=SHORT))
    part = trained(make_cells(method, task, [1, 2], SHORT))
    assert_close(replica(*part, 1), replica(*whole, 2), rtol=1e-9, atol=1e-12)


@every_method
def test_same_key_same_numbers(method, task):
    """Whatever the global generators are at; and another key gives others."""
    cells = make_cells(method, task, budget=SHORT)
    first = trained(cells)
    torch.manual_seed(1)
    np.random.seed(1)  # noqa: NPY002 - the global one is meant
    second = train(make_pack(cells), False)
    other = trained([replace(cell, seed=1) for cell in cells])
    for r in range(3):
        same(replica(*first, r), replica(*second, r))
    leaves = zip(tree_leaves(first[0].state), tree_leaves(other[0].state), strict=True)
    assert not all(torch.equal(a, b) for a, b in leaves) or not first[1].steps


@every_method
def test_state_keeps_its_structure(method, task):
    pack = make_pack(make_cells(method, task))
    if not pack.method.num_networks:
        pytest.skip("makes no updates")
    state, live = initial_state(pack), torch.ones(3, dtype=torch.bool)
    new, _, info = make_step(pack)(
        pack.floats, pack.problem.table, pack.problem.rows, state, live, pack.keys, pack.problem.t
    )
    assert tree_structure(new) == tree_structure(state)
    for before, after in zip(tree_leaves(state), tree_leaves(new), strict=True):
        assert (after.shape, after.dtype, after.device) == (before.shape, before.dtype, before.device)
        assert before.dtype in (torch.float64, torch.int64, torch.int32, torch.bool)  # nothing falls to float32
    assert {value.shape for value in info.values()} == {(3,)}


@one_task_a_method
def test_floats_differ_between_replicas(method, task):
    """Every float field changed in one replica of a pack each gives what each configuration gives alone."""
    default = small(method)
    changed = [replace(default, **{k: v * 0.6}) for k, v in vars(default).items() if isinstance(v, float) and v]
    schedule = list(default.schedule(SHORT.steps))  # of collected draws: it is structure
    grid = [default, *(m for m in changed if list(m.schedule(SHORT.steps)) == schedule)]
    packed = trained([make_cells(m, task, [1], SHORT)[0] for m in grid])
    for r, m in enumerate(grid):
        alone = trained(make_cells(m, task, [1], SHORT))
        assert_close(replica(*packed, r), replica(*alone, 0), rtol=1e-9, atol=1e-12)


def test_a_broken_hyperparameter_stays_with_its_replica():
    cells = make_cells("map", budget=SHORT)
    pack = make_pack(cells, torch.float32)
    sound = train(pack, False)
    broken = train(
        replace(pack, floats={"lr": torch.tensor([cells[0].method.lr, torch.nan, cells[2].method.lr])}), False
    )
    assert broken[0].live.tolist() == [True, False, True]
    assert broken[1].diverged_at.tolist() == [-1, 1, -1]  # the first loss is still that of the start
    for r in (0, 2):
        same(replica(*broken, r), replica(*sound, r))


@dataclass(frozen=True)
class Exploding(MAP):
    """MAP whose loss is NaN from update 8 on; its state after update 7 is collected."""

    early_stopping: bool = False

    def update(self, key, state, problem):
        state, info = super().update(key, state, problem)
        return state, {"loss": torch.where(problem.t < 7, info["loss"], torch.nan)}

    def schedule(self, steps):
        return (6,)

    def collect(self, state):
        return state


def test_a_diverged_replica_is_frozen_at_its_last_finite_state():
    cells = make_cells(Exploding(), budget=SHORT)
    fit, history = train(make_pack(cells), False)
    assert not fit.live.any()
    assert history.diverged_at.tolist() == [7, 7, 7]
    same(fit.state, tree_map(lambda leaf: leaf[:, 0], fit.draws))
    outcomes = outcomes_of(cells, Settings(CPU), RunProgress(None, 1, 1, quiet=True))
    assert [o.status for o in outcomes] == [Status.DIVERGED] * 3
    assert outcomes[0].message == "the loss was not finite at update 8"
    assert not any(o.evaluations or o.artifacts for o in outcomes)


class Stray(MAP):
    """Draws from the global generator."""

    def update(self, key, state, problem):
        torch.randn(1)
        return super().update(key, state, problem)


def test_a_stray_draw_fails_in_words():
    outcomes = outcomes_of(make_cells(Stray(), budget=SHORT), Settings(CPU), RunProgress(None, 1, 1, quiet=True))
    assert [(o.status, "random" in o.message) for o in outcomes] == [(Status.FAILED, True)] * 3


def check_traced(method, task):
    pack = make_pack(make_cells(method, task, [0, 1], replace(BUDGET, steps=TRACED_FROM)), torch.float32)
    problem, live = pack.problem, torch.ones(2, dtype=torch.bool)
    arguments = (pack.floats, problem.table, problem.rows, initial_state(pack), live, pack.keys, problem.t + 7)
    step = make_step(pack)
    with torch.no_grad():
        traced = program(pack, step, arguments, compiled=False)
        assert isinstance(traced, Program)
        same(traced(*arguments), step(*arguments))


@pytest.mark.parametrize(
    ("method", "task"),
    [("map", "classification"), ("mc-dropout", "heteroscedastic"), ("bbp-flipout", "classification"),
     ("mnf-planar", "heteroscedastic"), ("sghmc", "heteroscedastic"), ("flow-maf", "density")],
)  # fmt: skip
def test_a_traced_step_equals_a_plain_one_to_the_bit(method, task):
    """As a budget of some hundred steps is run: without vmap and autograd."""
    check_traced(method, task)


@pytest.mark.slow
@every_method
def test_every_traced_step_equals_a_plain_one_to_the_bit(method, task):
    if small(method).num_networks:
        check_traced(method, task)


def check_compiled(method, task):
    """A pack of two, one of its cells alone, and the pack not compiled: float32, six steps."""
    few = replace(BUDGET, steps=6, validation_checks=1)
    together, _ = trained(make_cells(method, task, [0, 1], few), torch.float32, compiled=True)
    alone, _ = trained(make_cells(method, task, [1], few), torch.float32, compiled=True)
    eager, _ = trained(make_cells(method, task, [0, 1], few), torch.float32)
    assert tree_structure(together.state) == tree_structure(eager.state)
    for a, b, c in zip(*map(tree_leaves, (together.state, alone.state, eager.state)), strict=True):
        assert_close(a[1], b[0], rtol=1e-4, atol=1e-5)
        assert_close(a, c, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("method", ["map", pytest.param("sgld", marks=pytest.mark.slow)])
def test_compiled_packed_equals_compiled_alone(method):
    check_compiled(method, "heteroscedastic")


@pytest.mark.slow
@every_method
def test_compiled_equals_eager(method, task):
    """In one process, so that no program made for one structure may serve another."""
    if small(method).num_networks:
        check_compiled(method, task)


@every_method
def test_chunks_of_a_prediction_change_nothing(method, task, monkeypatch):
    fit, _ = trained(make_cells(method, task, budget=SHORT))
    x = np.random.default_rng(0).normal(3, 1, (23, 3))
    inputs = [x[:23], x[:11], x[:17]]
    whole = Evaluator(fit).predictions(inputs)
    for numbers in (1, 3 * 5 * 8 * 4):  # one row at a time, four rows
        monkeypatch.setattr(predict, "CHUNK_NUMBERS", numbers)
        assert_close(Evaluator(fit).predictions(inputs), whole, rtol=1e-12, atol=1e-12)
    assert [p[0].shape[1] for p in whole] == [23, 11, 17]


@every_method
def test_predictions_are_differentiable_in_the_inputs(method, task):
    pack = make_pack(make_cells(method, task, [0], SHORT))
    state, rows = tree_map(lambda leaf: leaf[0], (initial_state(pack), tuple(pack.problem.rows)))
    problem = pack.problem_of(pack.problem.table, type(pack.problem.rows)(*rows), pack.problem.t)
    posterior = pack.method.posterior(state, None, pack.method.target(problem))
    x = torch.randn(4, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0)) + 3
    assert isinstance(problem, Problem)

    def total(x):
        return posterior.predictive(random.key(0), problem, x, 3)[0].square().sum()

    if not pack.method.num_networks:
        return
    gradient = torch.func.grad(total)(x)
    step = 1e-5 * torch.eye(12, dtype=torch.float64)[5].reshape(4, 3)
    numeric = (total(x + step) - total(x - step)) / 2e-5
    assert_close(gradient[1, 2], numeric, rtol=1e-4, atol=1e-6)


@every_method
def test_names_and_arrays_of_a_posterior(method, task):
    """What is stored is one replica's, finite, and small: nothing of the data is in it."""
    fit, _ = trained(make_cells(method, task, budget=SHORT))
    for r in range(3):
        arrays = to_arrays(fit, r)
        assert all(np.isfinite(value).all() for value in arrays.values())
        assert not any(80 in value.shape or 160 in value.shape for value in arrays.values())
    assert isinstance(METHODS.get(method)(), Method)
    assert TASKS[task].kind in METHODS.get(method).supports
