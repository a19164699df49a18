"""Matrix products by oneDNN are those of torch, under every transform that predictions and attacks use."""

import pytest
import torch
import torch.nn.functional as F
from torch.func import functional_call, jvp, vmap
from torch.testing import assert_close

from bnnbench.engine import products
from bnnbench.engine.products import _ByOneDNN, fast_products
from bnnbench.nets import MLP

pytestmark = [
    pytest.mark.skipif(not torch.backends.mkldnn.is_available(), reason="torch has no oneDNN here"),
    # the first jvp of a process compiles formulas of torch's by a deprecated call
    pytest.mark.filterwarnings("ignore:.*torch.jit.script:FutureWarning"),
]

GENERATOR = torch.Generator().manual_seed(0)
NET = MLP(300, (256, 260), 10)
SAMPLES = {k: 0.1 * torch.randn(3, *v.shape, generator=GENERATOR) for k, v in NET.named_parameters()}
MEAN = {k: v.mean(0) for k, v in SAMPLES.items()}
X = torch.randn(20, 300, generator=GENERATOR)


def sampled(x):
    """One network for every weight sample."""
    return vmap(lambda weights: functional_call(NET, weights, (x,)))(SAMPLES)


def replicas(x):
    """The same below an outer vmap, over networks and rows of their own."""
    return vmap(lambda weights, x: functional_call(NET, weights, (x,)))(SAMPLES, torch.stack([x, x + 1, x - 1]))


def shared(x):
    """One network, several inputs."""
    return vmap(lambda x: functional_call(NET, MEAN, (x,)))(torch.stack([x, 2 * x]))


def linearised(x):
    """The network's tangent at the mean."""

    def term(weights):
        change = {k: weights[k] - MEAN[k] for k in MEAN}
        out = jvp(lambda w: functional_call(NET, w, (x,)), (MEAN,), (change,))
        return out[0] + out[1]

    return vmap(term)(SAMPLES)


def last_layer(x):
    """The same for some of the parameters."""
    free = [k for k in MEAN if k.startswith("layers.2")]

    def term(weights):
        change = {k: weights[k] - MEAN[k] for k in free}
        return jvp(lambda w: functional_call(NET, MEAN | w, (x,)), ({k: MEAN[k] for k in free},), (change,))[1]

    return vmap(term)(SAMPLES)


@pytest.mark.parametrize("function", [sampled, replicas, shared, linearised, last_layer])
def test_values_and_gradients_are_those_of_torch(function, monkeypatch):
    called = []
    forward = products._Linear.forward
    monkeypatch.setattr(products._Linear, "forward", staticmethod(lambda *a: called.append(a) or forward(*a)))

    def both(x):
        x = x.clone().requires_grad_()
        y = function(x)
        return y.detach(), torch.autograd.grad(y.logsumexp(-1).sum(), x)[0]

    expected = both(X)
    assert not called
    with _ByOneDNN():
        found = both(X)
    assert called
    for a, b in zip(found, expected, strict=True):
        assert_close(a, b, rtol=1e-4, atol=1e-5)


def test_gradients_of_the_parameters():
    def gradients():
        weight = 0.1 * torch.ones(300, 256).T.clone()
        weight, bias = (weight + torch.arange(300) / 300).requires_grad_(), torch.zeros(256).requires_grad_()
        return torch.autograd.grad(F.linear(X[None], weight, bias).square().sum(), [weight, bias])

    expected = gradients()
    with _ByOneDNN():
        for a, b in zip(gradients(), expected, strict=True):
            assert_close(a, b, rtol=1e-4, atol=1e-3)


def test_small_layers_and_double_precision_stay_with_torch(monkeypatch):
    monkeypatch.setattr(products._Linear, "apply", None)
    with _ByOneDNN():
        assert F.linear(X, torch.zeros(4, 300)).shape == (20, 4)
        assert F.linear(X.double(), torch.zeros(256, 300).double()).dtype == torch.float64
        assert F.linear(X.to("meta"), torch.zeros(256, 300, device="meta")).shape == (20, 256)


@pytest.mark.parametrize("amd", [True, False])
def test_only_where_torch_s_library_is_slow(amd, monkeypatch):
    monkeypatch.setattr(products, "_is_amd", lambda: amd)
    assert isinstance(fast_products(), _ByOneDNN) == amd
