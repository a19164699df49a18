"""Every tensor is made where the pack is: all of a method's functions on PyTorch's `meta` device, which has no numbers.

A tensor made elsewhere meets another device there, and `.item()`, a branch on a tensor or a shape that depends on data
raise, as none of this does on a CPU. What a graphics card would compute is not shown; that it can be asked is.
"""

import pytest
import torch
from torch.utils._pytree import tree_leaves, tree_map

from bnnbench import random
from bnnbench.engine.cell import Cell, default
from bnnbench.engine.pack import stack
from bnnbench.engine.predict import posterior_of, predict
from bnnbench.engine.step import initial_state, make_step, over_replicas
from bnnbench.errors import UserError
from bnnbench.methods import METHODS, Method
from bnnbench.tasks import TASKS
from bnnbench.tasks.budget import BUDGETS

META = torch.device("meta")
R, SAMPLES = 2, 4
NAMES = ("diabetes", "breast-cancer", "mnist-lenet", "moons", "energy-1")
MORE = ("toy-antoran", "yacht", "mnist1d", "cifar10-sample-conv3fc3", "fidelity-digits-conv", "blobs", "letters",
        "mnist-vae")  # fmt: skip
TRAINED = [cls for cls in METHODS if issubclass(cls, Method) and cls.num_networks]


def packed(name, cls):
    task = TASKS.get(name)
    if not task.present():
        pytest.skip(f"no data of the task {name}; set BNNBENCH_DATA")
    method = default(cls, task)
    cells = [Cell(task, method, task.rules[0], 0, seed, BUDGETS["smoke"]) for seed in range(R)]
    try:
        return stack(cells, META)
    except UserError as refusal:  # of a network that is too large for the method
        pytest.skip(str(refusal))


def devices(*trees):
    return {leaf.device.type for leaf in tree_leaves(trees) if isinstance(leaf, torch.Tensor)}


def cases():
    """Methods and tasks that fit; what adds little is slow."""
    for name in (*NAMES, *MORE):
        for cls in TRAINED:
            if TASKS.get(name).kind in cls.supports:
                marks = pytest.mark.slow if name in MORE else ()
                yield pytest.param(name, cls, id=f"{cls.name} on {name}", marks=marks)


@pytest.mark.parametrize(("name", "cls"), list(cases()))
def test_training_and_predicting_stay_on_the_device_of_the_pack(name, cls):
    pack = packed(name, cls)
    begun = initial_state(pack)
    state, live, info = make_step(pack)(
        pack.floats, pack.problem.table, pack.problem.rows, begun, torch.ones(R, dtype=torch.bool, device=META),
        pack.keys, pack.problem.t,
    )  # fmt: skip
    assert [leaf.shape for leaf in tree_leaves(state)] == [leaf.shape for leaf in tree_leaves(begun)]
    assert [leaf.dtype for leaf in tree_leaves(state)] == [leaf.dtype for leaf in tree_leaves(begun)]
    assert devices(begun, state, live, info) == {"meta"}
    draws = None
    if pack.method.schedule(pack.steps):
        kept = over_replicas(pack, lambda method, problem, own: method.collect(own), state)
        draws = tree_map(lambda leaf: torch.stack([leaf, leaf], 1), kept)
    try:
        finished = over_replicas(
            pack, lambda method, problem, key, own: method.finish(key, own, problem), pack.keys, state
        )
    except UserError as refusal:
        pytest.skip(str(refusal))
    posterior = posterior_of(pack, finished, draws)
    x = pack.problem.table.x[:5].expand(R, 5, *pack.problem.table.x.shape[1:])
    predictive = predict(pack, posterior, random.fold_in(pack.keys, 1), x, SAMPLES)
    assert devices(finished, posterior, predictive) == {"meta"}


@pytest.mark.parametrize("where", ["a tensor made on the CPU", "a number that is read", "a branch on a tensor"])
def test_the_law_catches(where):
    from dataclasses import dataclass

    from bnnbench.methods.map import MAP

    def wrong(loss):
        if where == "a tensor made on the CPU":
            return (loss + torch.ones(3)).sum()
        if where == "a number that is read":
            return loss + loss.item()
        return loss + 1 if loss > 0 else loss

    @dataclass(frozen=True)
    class Wrong(MAP):
        def update(self, key, state, problem):
            new, info = super().update(key, state, problem)
            return new, info | {"loss": wrong(info["loss"])}

    with pytest.raises((RuntimeError, NotImplementedError)):
        test_training_and_predicting_stay_on_the_device_of_the_pack("diabetes", Wrong)
