"""The same four flows by three other libraries, at equal layers, widths and bins: functions x -> (y, logdet).

nflows and normflows share their masked networks and splines (the second began as a copy of the first), so theirs are
built alike. Both are loaded only if they are installed (`pip install zuko nflows normflows`).
"""

from __future__ import annotations

import functools

import torch
from torch import nn

LAYERS, WIDTH, BINS, BOUND = 4, 64, 8, 5.0


def zuko_flow(kind: str, dim: int) -> nn.Module:
    """A module whose call gives (y, logdet)."""
    import zuko
    from zuko.flows.autoregressive import MaskedAutoregressiveTransform
    from zuko.flows.coupling import GeneralCouplingTransform
    from zuko.lazy import LazyComposedTransform
    from zuko.transforms import MonotonicRQSTransform

    assert zuko
    spline = {"univariate": MonotonicRQSTransform, "shapes": [(BINS,), (BINS,), (BINS - 1,)]}
    more = {"hidden_features": (WIDTH, WIDTH)} | (spline if "spline" in kind else {})
    parts = []
    for i in range(LAYERS):
        if kind in ("realnvp", "spline-coupling"):
            parts.append(GeneralCouplingTransform(dim, mask=torch.arange(dim) % 2 == i % 2, **more))
        else:
            order = torch.arange(dim)
            parts.append(MaskedAutoregressiveTransform(dim, order=order.flip(0) if i % 2 else order, **more))

    class Zuko(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.transform = LazyComposedTransform(*parts)

        def forward(self, x):
            return self.transform(None).call_and_ladj(x)

    return Zuko()


class Composed(nn.Module):
    """Layers (x) -> (y, logdet) one after the other, the order of the dimensions reversed between them."""

    def __init__(self, layers: list[nn.Module], reverse: bool) -> None:
        super().__init__()
        self.layers, self.reverse = nn.ModuleList(layers), reverse

    def forward(self, x):
        total = 0.0
        for i, layer in enumerate(self.layers):
            x, logdet = layer(x.flip(-1) if self.reverse and i else x)
            total = total + logdet
        return x, total


def nflows_flow(kind: str, dim: int) -> nn.Module:
    """The same by nflows."""
    from nflows.nn.nets import MLP
    from nflows.transforms import (
        AffineCouplingTransform,
        MaskedAffineAutoregressiveTransform,
        MaskedPiecewiseRationalQuadraticAutoregressiveTransform,
        PiecewiseRationalQuadraticCouplingTransform,
    )

    made = {"num_blocks": 1, "use_residual_blocks": False}
    spline = {"num_bins": BINS, "tails": "linear", "tail_bound": BOUND}

    class Net(MLP):
        def forward(self, inputs, context=None):
            return super().forward(inputs)

    def net(inputs: int, outputs: int) -> nn.Module:
        return Net([inputs], [outputs], [WIDTH, WIDTH])

    masks = [[(j + i) % 2 for j in range(dim)] for i in range(LAYERS)]
    layers = {
        "realnvp": lambda i: AffineCouplingTransform(masks[i], net),
        "spline-coupling": lambda i: PiecewiseRationalQuadraticCouplingTransform(masks[i], net, **spline),
        "maf": lambda i: MaskedAffineAutoregressiveTransform(dim, WIDTH, **made),
        "spline-ar": lambda i: MaskedPiecewiseRationalQuadraticAutoregressiveTransform(dim, WIDTH, **made, **spline),
    }
    return Composed([layers[kind](i) for i in range(LAYERS)], kind in ("maf", "spline-ar"))


def normflows_flow(kind: str, dim: int) -> nn.Module:
    """The same by normflows."""
    import normflows as nf
    from normflows.flows.neural_spline.autoregressive import MaskedPiecewiseRationalQuadraticAutoregressive
    from normflows.flows.neural_spline.coupling import PiecewiseRationalQuadraticCoupling

    made = {"num_blocks": 1, "use_residual_blocks": False}
    spline = {"num_bins": BINS, "tails": "linear", "tail_bound": BOUND}

    class Net(nf.nets.MLP):
        def forward(self, inputs, context=None):
            return super().forward(inputs)

    def net(inputs: int, outputs: int) -> nn.Module:
        return Net([inputs, WIDTH, WIDTH, outputs], leaky=0.0)

    half = dim // 2
    masks = [[(j + i) % 2 for j in range(dim)] for i in range(LAYERS)]
    layers = {
        "realnvp": lambda i: nf.flows.AffineCouplingBlock(net(dim - half, 2 * half)),
        "spline-coupling": lambda i: PiecewiseRationalQuadraticCoupling(torch.tensor(masks[i]), net, **spline),
        "maf": lambda i: nf.flows.MaskedAffineAutoregressive(dim, WIDTH, **made),
        "spline-ar": lambda i: MaskedPiecewiseRationalQuadraticAutoregressive(dim, WIDTH, **made, **spline),
    }
    return Composed([layers[kind](i) for i in range(LAYERS)], kind != "spline-coupling")


def own_flow(kind: str, dim: int) -> nn.Module:
    """The same by bnnbench."""
    from bnnbench import flows

    more = {"layers": LAYERS, "hidden": (WIDTH, WIDTH)}
    spline = more | {"bins": BINS, "bound": BOUND}
    make = {
        "realnvp": functools.partial(flows.realnvp, dim, **more),
        "maf": functools.partial(flows.maf, dim, **more),
        "spline-coupling": functools.partial(flows.spline_coupling, dim, **spline),
        "spline-ar": functools.partial(flows.spline_autoregressive, dim, **spline),
    }
    return make[kind]().bijection


KINDS = ("realnvp", "maf", "spline-coupling", "spline-ar")
LIBRARIES = {"bnnbench": own_flow, "zuko": zuko_flow, "nflows": nflows_flow, "normflows": normflows_flow}
