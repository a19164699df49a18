"""The same flows by four libraries, at equal layers, widths and bins: modules x -> (y, logdet).

The others are loaded only when they are asked for (`pip install bnnbench[peers]`). An inverse autoregressive flow is
`maf` the other way round.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn

LAYERS, WIDTH, BINS, BOUND = 4, 64, 8, 5.0
KINDS = ("realnvp", "maf", "spline-coupling", "spline-ar")
FURTHER = ("nice", "glow", "planar", "radial")  # which not all libraries have
MASKED = ("maf", "spline-ar")
SHIPPED = "normflows as shipped"  # where that differs: its masked networks leave out an activation
LACKS = {
    "zuko": ("glow", "planar", "radial"),
    "nflows": ("planar", "radial"),
    SHIPPED: tuple(kind for kind in KINDS + FURTHER if kind not in MASKED),
}


def own_flow(kind: str, dim: int) -> nn.Module:
    """The flow by bnnbench."""
    from bnnbench import flows

    more = {"layers": LAYERS, "hidden": (WIDTH, WIDTH)}
    spline = more | {"bins": BINS, "bound": BOUND}
    make = {
        "realnvp": lambda: flows.realnvp(dim, **more),
        "maf": lambda: flows.maf(dim, **more),
        "spline-coupling": lambda: flows.spline_coupling(dim, **spline),
        "spline-ar": lambda: flows.spline_autoregressive(dim, **spline),
        "nice": lambda: flows.coupling_flow(dim, flows.Shift(), **more),
        "glow": lambda: flows.glow(dim, **more),
        "planar": lambda: flows.planar(dim, LAYERS),
        "radial": lambda: flows.radial(dim, LAYERS),
    }
    bijection = make[kind]().bijection
    return bijection.bijection if isinstance(bijection, flows.Inverse) else bijection  # the way of the closed form


class Zuko(nn.Module):
    """The flow by zuko, with its `call_and_ladj` for a call."""

    def __init__(self, kind: str, dim: int) -> None:
        from zuko.flows import GeneralCouplingTransform, MaskedAutoregressiveTransform
        from zuko.lazy import LazyComposedTransform
        from zuko.transforms import AdditiveTransform, MonotonicRQSTransform

        super().__init__()
        more = {"hidden_features": (WIDTH, WIDTH)}
        if "spline" in kind:
            more |= {"univariate": MonotonicRQSTransform, "shapes": [(BINS,), (BINS,), (BINS - 1,)]}
        if kind == "nice":
            more |= {"univariate": AdditiveTransform, "shapes": [()]}
        place = torch.arange(dim)
        if kind in ("realnvp", "spline-coupling", "nice"):
            parts = [GeneralCouplingTransform(dim, mask=place % 2 == i % 2, **more) for i in range(LAYERS)]
        else:
            orders = [place.flip(0) if i % 2 else place for i in range(LAYERS)]
            parts = [MaskedAutoregressiveTransform(dim, order=order, **more) for order in orders]
        self.transform = LazyComposedTransform(*parts)

    def forward(self, x):
        return self.transform(None).call_and_ladj(x)

    def inverse(self, y):
        return self.transform(None).inv.call_and_ladj(y)


class Composed(nn.Module):
    """Layers x -> (y, logdet) one after the other, the order of the dimensions reversed between them where asked."""

    def __init__(self, layers: list[nn.Module], reverse: bool) -> None:
        super().__init__()
        self.layers, self.reverse = nn.ModuleList(layers), reverse

    def forward(self, x):
        total = 0.0
        for i, layer in enumerate(self.layers):
            x, logdet = layer(x.flip(-1) if self.reverse and i else x)
            total = total + logdet
        return x, total

    def inverse(self, y):
        total = 0.0
        for i, layer in reversed(list(enumerate(self.layers))):
            y, logdet = layer.inverse(y)
            y, total = y.flip(-1) if self.reverse and i else y, total + logdet
        return y, total


class Network(nn.Sequential):
    """Conditioner of the couplings of nflows and normflows, whose splines ask for its width."""

    hidden_features = WIDTH

    def __init__(self, inputs: int, outputs: int) -> None:
        hidden = [nn.Linear(inputs, WIDTH), nn.ReLU(), nn.Linear(WIDTH, WIDTH), nn.ReLU()]
        super().__init__(*hidden, nn.Linear(WIDTH, outputs))

    def forward(self, x, context=None):
        return super().forward(x)


def composed(kind: str, dim: int, layer: Callable, reverse: bool) -> nn.Module:
    """The flow by nflows or normflows, whose layers take equal arguments (the second began as a copy of the first)."""
    more = {"num_bins": BINS, "tails": "linear", "tail_bound": BOUND} if "spline" in kind else {}
    if kind in ("realnvp", "spline-coupling", "nice"):
        masks = [(torch.arange(dim) + i) % 2 for i in range(LAYERS)]
        return Composed([layer(mask, Network, **more) for mask in masks], reverse)
    more |= {"num_blocks": 1, "use_residual_blocks": False}
    return Composed([layer(dim, WIDTH, **more) for _ in range(LAYERS)], reverse)


def repeated(*makers: Callable[[], nn.Module]) -> nn.Module:
    """A flow of LAYERS steps, each of these layers."""
    return Composed([make() for _ in range(LAYERS) for make in makers], reverse=False)


def nflows_flow(kind: str, dim: int) -> nn.Module:
    """The flow by nflows."""
    from nflows import transforms

    layers = {
        "realnvp": transforms.AffineCouplingTransform,
        "spline-coupling": transforms.PiecewiseRationalQuadraticCouplingTransform,
        "maf": transforms.MaskedAffineAutoregressiveTransform,
        "spline-ar": transforms.MaskedPiecewiseRationalQuadraticAutoregressiveTransform,
        "nice": transforms.AdditiveCouplingTransform,
    }
    if kind == "glow":
        flow = repeated(
            lambda: transforms.ActNorm(dim),
            lambda: transforms.LULinear(dim),
            lambda: transforms.AffineCouplingTransform(torch.arange(dim) % 2, Network),
        )
        for norm in (layer for layer in flow.layers if isinstance(layer, transforms.ActNorm)):
            norm.initialized.fill_(True)  # a single row has no standard deviation to start from
        return flow
    return composed(kind, dim, layers[kind], reverse=kind in MASKED)


def normflows_flow(kind: str, dim: int) -> nn.Module:
    """The flow by normflows, with the activation after the first layer that its masked networks leave out: without it
    two of their three layers are one linear map, and less work.
    """
    from normflows.nets.made import MADE

    flow = shipped_flow(kind, dim)
    for network in [module for module in flow.modules() if isinstance(module, MADE)]:
        network.initial_layer = nn.Sequential(network.initial_layer, nn.ReLU())
    return flow


def shipped_flow(kind: str, dim: int) -> nn.Module:
    """The flow by normflows as it is."""
    from normflows import flows
    from normflows.flows.neural_spline.autoregressive import MaskedPiecewiseRationalQuadraticAutoregressive
    from normflows.flows.neural_spline.coupling import PiecewiseRationalQuadraticCoupling

    half = dim // 2
    layers = {
        "realnvp": lambda _, net: flows.AffineCouplingBlock(net(dim - half, 2 * half)),
        "spline-coupling": PiecewiseRationalQuadraticCoupling,
        "maf": flows.MaskedAffineAutoregressive,
        "spline-ar": MaskedPiecewiseRationalQuadraticAutoregressive,
        "nice": lambda _, net: flows.AffineCouplingBlock(net(dim - half, half), scale=False),
    }
    if kind == "glow":
        flow = repeated(
            lambda: flows.ActNorm(dim), lambda: flows.InvertibleAffine(dim), lambda: layers["realnvp"](None, Network)
        )
        for norm in (layer for layer in flow.layers if isinstance(layer, flows.ActNorm)):
            norm.data_dep_init_done = torch.tensor(1.0)
        return flow
    if kind in ("planar", "radial"):
        layer = {"planar": flows.Planar, "radial": flows.Radial}[kind]
        return repeated(lambda: layer((dim,)))
    return composed(kind, dim, layers[kind], reverse=kind != "spline-coupling")


LIBRARIES = {
    "bnnbench": own_flow,
    "zuko": Zuko,
    "nflows": nflows_flow,
    "normflows": normflows_flow,
    SHIPPED: shipped_flow,
}
