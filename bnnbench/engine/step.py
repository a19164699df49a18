"""The engine: the one place where methods are vmapped.

Everything a replica does is `init`, `update`, `finish`, `collect` and `posterior` of a method, for one network; the
replica dimension of a pack enters here, and so does the problem that the method aims at (`Method.target`). A replica
whose loss is not finite is frozen at its last finite state and never touches the others: all writes go through
`where(live, new, old)`.
"""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import vmap
from torch.utils._pytree import tree_map

from bnnbench import random
from bnnbench.engine.pack import Pack, Replicas

INIT, TRAIN, VALIDATE, FINISH, PREDICT = range(5)  # purposes of a cell's key

State = Any


def make_step(pack: Pack) -> Callable:
    """The vmapped training step (floats, table, rows, state, live, key, t) -> (state, live, info)."""
    template = pack.problem.with_network(skeleton(pack.problem.network))

    def one(floats: Any, table: Any, rows: Any, state: State, live: Tensor, key: Tensor, t: Tensor) -> Any:
        method = pack.method_of(floats)
        problem = method.target(dataclasses.replace(template, table=table, rows=rows, t=t))
        new, info = method.update(key, state, problem)
        live = live & torch.isfinite(info["loss"])
        return tree_map(lambda a, b: torch.where(live, a, b), new, state), live, info

    return vmap(one, in_dims=(0, None, 0, 0, 0, 0, None), randomness="error")


def skeleton(network: nn.Module) -> nn.Module:
    """A copy with empty parameters: `functional_call` brings the real ones, whose shapes alone then count for the
    compiler. Packs of other input widths share its program."""
    network = copy.deepcopy(network)
    for parameter in network.parameters():
        parameter.data = parameter.data.new_empty(0)
        parameter.requires_grad_(False)
    return network


def over_replicas(pack: Replicas, f: Callable, *args: Any) -> Any:
    """vmap f(method, problem, *args) over the replicas of a pack, at the end of its budget; the problem is the one that
    the method aims at (`Method.target`)."""
    problem = pack.problem
    t = torch.full_like(problem.t, problem.steps)

    def one(floats: Any, rows: Any, *rest: Any) -> Any:
        method = pack.method_of(floats)
        return f(method, method.target(pack.problem_of(problem.table, rows, t)), *rest)

    in_dims = (0, 0, *(None if arg is None else 0 for arg in args))
    return vmap(one, in_dims=in_dims, randomness="error")(pack.floats, problem.rows, *args)


def initial_state(pack: Pack) -> State:
    """`init` of all replicas."""
    keys = random.fold_in(pack.keys, INIT)
    state = over_replicas(pack, lambda method, problem, key: method.init(key, problem), keys)
    return tree_map(lambda leaf: leaf.clone(memory_format=torch.contiguous_format), state)  # no views of one draw
