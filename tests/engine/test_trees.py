"""Trees as named arrays and back, also under the names that fields of states had in earlier versions."""

from typing import NamedTuple

import numpy as np
import pytest
import torch

from bnnbench.engine.trees import from_named, to_named
from bnnbench.methods.hmc import Position


class State(NamedTuple):
    """A state with all kinds of keys, one of which is called like a renamed field."""

    position: Position
    layers: dict[str, torch.Tensor]
    steps: list[torch.Tensor]


STATE = State(
    Position({"weight": torch.rand(3, 2)}, torch.rand(3), {"weight": torch.rand(3, 2)}),
    {"nll": torch.rand(2), "a.gradient": torch.rand(1)},
    [torch.tensor(4), torch.tensor(5)],
)
BEFORE = {
    "state.position.params['weight']",
    "state.position.misfit",
    "state.position.slope['weight']",
    "state.layers['nll']",
    "state.layers['a.gradient']",
    "state.steps[0]",
    "state.steps[1]",
}


def earlier() -> dict[str, np.ndarray]:
    """The arrays as an earlier version named them."""
    new = {"state.position.nll": "state.position.misfit"}
    new |= {"state.position.gradient['weight']": "state.position.slope['weight']"}
    return {new.get(name, name): array for name, array in to_named("state", STATE).items()}


@pytest.mark.parametrize("arrays", [to_named("state", STATE), earlier()], ids=["present names", "earlier names"])
def test_a_tree_comes_back_from_its_arrays(arrays):
    empty = torch.utils._pytree.tree_map(torch.zeros_like, STATE)
    torch.testing.assert_close(from_named("state", empty, arrays), STATE, rtol=0, atol=0)


def test_earlier_names_are_those_of_the_test():
    assert earlier().keys() == BEFORE


def test_a_missing_leaf_is_named_as_it_is_today():
    arrays = earlier()
    del arrays["state.position.misfit"]
    with pytest.raises(KeyError, match=r"state\.position\.nll"):
        from_named("state", STATE, arrays)
