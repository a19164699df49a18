"""What a flow does not take, and what it takes though it looks odd."""

import math

import numpy as np
import pytest
import torch
from flow_samples import moved, points
from torch.testing import assert_close

from bnnbench import flows, random
from bnnbench.errors import UserError
from bnnbench.flows import Autoregressive, Chain, Coupling, Flow, Planar, RationalQuadratic


def test_a_coupling_of_one_dimension_says_what_to_take():
    with pytest.raises(UserError, match="Autoregressive"):
        Coupling(1)


@pytest.mark.parametrize(
    ("bad", "sentence"),
    [
        (lambda: flows.realnvp(2, layers=0), "layers is a whole number of 1 or more, not 0"),
        (lambda: flows.maf(0), "dimension of a flow is a whole number of 1 or more, not 0"),
        (lambda: Chain([Planar(2, 2), Planar(2, 3)]), r"length of the context.*\[2, 3\]"),
        (lambda: Coupling(2, activation="gelu"), "no activation 'gelu'"),
        (lambda: RationalQuadratic(0), "not 0"),
        (lambda: RationalQuadratic(1000), "The 1000 bins of a spline, .* leave no room"),
        (lambda: RationalQuadratic(bound=0.0), "not 0.0"),
        (lambda: flows.radial(2).log_prob(torch.ones(4, 1)), r"vectors \[..., 2\], not \[4, 1\]"),
        (lambda: flows.planar(2).fit_start(torch.ones(4, 3)), r"not \[4, 3\]"),
        (lambda: flows.planar(2, context=3).log_prob(torch.ones(4, 2)), r"a context \[..., 3\], not none"),
        (lambda: flows.maf(2, context=3).sample(random.key(0), 4, torch.ones(2)), r"not \[2\]"),
        (lambda: flows.glow(2).log_prob(torch.ones(4, 2), torch.ones(3)), "no context"),
        (lambda: flows.glow(2).sample(random.key(0), -1), "not -1"),
        (lambda: flows.glow(2).sample(random.key(0), 2.5), "not 2.5"),
        (lambda: flows.glow(2).sample(0, 3), r"key\(seed\)`, not 0"),
        (lambda: flows.maf(2).log_prob([[0.0, 1.0]]), "not a list"),
        (lambda: flows.maf(2).log_prob(torch.ones(4, 2).double()), "torch.float32 and cannot take torch.float64"),
        (lambda: flows.planar(2).log_prob(torch.ones(4, 2).long()), "cannot take torch.int64"),
        (lambda: flows.planar(2, 2).path(torch.ones(4, 1)), r"not \[4, 1\]"),
        (lambda: flows.maf(2, context=3).log_prob(torch.ones(5, 2), [1.0, 2.0, 3.0]), "not a list"),
        (
            lambda: flows.maf(2, context=3).log_prob(torch.ones(5, 2), torch.ones(3).double()),
            "context of torch.float64",
        ),
        (lambda: flows.maf(2, context=3).log_prob(torch.ones(5, 2), torch.ones(4, 3)), r"\[4, 3\] is neither"),
        (lambda: flows.planar(2, context=3).sample(random.key(0), 1, torch.ones(4, 3)), r"\[4, 3\] is neither"),
        (lambda: Chain([flows.maf(2), flows.planar(2)]), "a Flow is none; take its `bijection`"),
        (lambda: flows.Inverse(flows.maf(2)), "a Flow is none"),
        (lambda: flows.Flow(torch.nn.Linear(2, 2)), "a Linear is none"),
        (lambda: flows.normalised(Planar(2)), "not a Planar"),
        (lambda: flows.maf(2, hidden=64), "not 64"),
        (lambda: flows.maf(2, hidden=(8, 0)), r"not \(8, 0\)"),
        (lambda: flows.realnvp(2, context=-1), "not -1"),
        (lambda: flows.glow(2).fit_start(torch.ones(2)), r"not from \[2\]"),
        (lambda: flows.glow(2).fit_start(torch.ones(0, 2)), r"not from \[0, 2\]"),
        (lambda: flows.glow(2).fit_start(torch.full((4, 2), math.nan)), "NaN"),
        (lambda: flows.Affine(0.0), "not 0"),
        (lambda: RationalQuadratic(2.5), "not 2.5"),
        (lambda: RationalQuadratic(bound=math.inf), "not inf"),
        (lambda: RationalQuadratic(bound="5"), "bound of a spline is a finite number above 0, not '5'"),
        (lambda: flows.Affine(None), "bound of a log-scale .* not None"),
        (lambda: flows.realnvp(2.0), "dimension of a flow is a whole number of 1 or more, not 2.0"),
        (lambda: flows.planar("2"), "not '2'"),
        (lambda: flows.Constant(True), "not True"),
        (lambda: flows.maf(2, layers=2.5), "layers is a whole number of 1 or more, not 2.5"),
        (lambda: flows.planar(2, layers=None), "not None"),
        (lambda: flows.glow(2, context=1.5), "context is a whole number of 0 or more, not 1.5"),
        (lambda: flows.radial(2, seed=0.5), "seed is a whole number, not 0.5"),
        (lambda: Coupling(2, activation=None), "no activation None"),
        (lambda: Coupling(2, flows.Shift), "not the class Shift"),
        (lambda: Autoregressive(2, Planar(2)), "not a Planar"),
        (lambda: Chain(Planar(2)), "list of bijections, not a Planar"),
        (lambda: flows.realnvp(2).sample(torch.tensor([1.5, 2.5]), 2), r"not a tensor \[2\] of torch.float32"),
        (lambda: flows.realnvp(2).sample(torch.tensor(5), 2), r"not a tensor \[\] of torch.int64"),
        (lambda: flows.realnvp(2).sample(torch.tensor([1, 2]), 2), "of torch.int64"),
        (lambda: flows.realnvp(2).sample(random.key(0), True), "not True"),
        (lambda: flows.Constant(2).fit_start([[1.0, 2.0]]), "not a list"),
        (lambda: random.key("0"), "seed is a whole number, not '0'"),
    ],
)
def test_what_a_flow_does_not_take_is_said_in_a_sentence(bad, sentence):
    with pytest.raises(UserError, match=sentence):
        bad()


def test_whole_numbers_of_numpy_are_whole():
    """And of any width: int32 once met masks of 32 bits."""
    ours, numpy_s = flows.glow(2, layers=2, seed=3), flows.glow(np.int64(2), layers=np.int32(2), seed=np.int32(3))
    assert torch.equal(ours.sample(random.key(-1), 3), numpy_s.sample(random.key(np.int32(-1)), np.int64(3)))


@pytest.mark.parametrize("make", [Coupling, Autoregressive, Planar])
def test_layers_without_a_context_stand_in_a_chain_with_others(make):
    chain = Chain([make(2), moved(Coupling(2, context=3), torch.float32), make(2)])
    x, context = points(5, 2, torch.float32), points(5, 3, torch.float32)
    assert_close(chain.inverse(chain(x, context)[0], context)[0], x, atol=1e-5, rtol=0)
    assert len(Flow(chain).path(x, context)) == 4
    assert not torch.allclose(Flow(chain).log_prob(x, context), Flow(chain).log_prob(x, context + 1))


def test_one_context_serves_all_vectors():
    flow, x, context = flows.maf(2, context=3), points(5, 2, torch.float32), points(1, 3, torch.float32)
    assert_close(flow.log_prob(x, context[0]), flow.log_prob(x, context.expand(5, 3)))
    assert_close(flow.log_prob(x, context), flow.log_prob(x, context[0]))


def test_a_flow_starts_from_a_single_row():
    flow, x = flows.glow(2, layers=1), torch.tensor([[3.0, -1.0]])
    flow.fit_start(x)
    assert_close(flow.layers[0](x)[0], torch.zeros(1, 2))
