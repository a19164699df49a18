"""What a flow does not take, and what it takes though it looks odd."""

import math

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
        (lambda: flows.realnvp(2, layers=0), "one layer or more"),
        (lambda: flows.maf(0), "one dimension or more, not 0"),
        (lambda: Chain([Planar(2, 2), Planar(2, 3)]), r"length of the context.*\[2, 3\]"),
        (lambda: Coupling(2, activation="gelu"), "no activation 'gelu'"),
        (lambda: RationalQuadratic(0), "not 0 and 5"),
        (lambda: RationalQuadratic(1000), "fewer than 1000, .* not 1000 and 5"),
        (lambda: RationalQuadratic(bound=0.0), "not 8 and 0"),
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
        (lambda: RationalQuadratic(bound=math.inf), "not 8 and inf"),
    ],
)
def test_what_a_flow_does_not_take_is_said_in_a_sentence(bad, sentence):
    with pytest.raises(UserError, match=sentence):
        bad()


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
