"""Layers of several members that share a weight: member k has W o (r_k s_k^T), a rank-1 matrix of factors on W.

Every example of a minibatch may be of another member, because its factors move to the layer's input and output,

    (W o (r s^T)) x + b = r o (W (s o x)) + b,

so that one product with W serves all members (Wen et al. 2020, arXiv 2002.06715, equation 5). In a convolution r
scales the channels of the output and s those of the input.
"""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor, nn

from bnnbench.errors import UserError
from bnnbench.layers.keys import setting
from bnnbench.layers.noisy import Noisy, NoisyConv2d, NoisyLinear, replaced


class Factors(NamedTuple):
    """Of one layer, with a leading dimension of examples or of members: r [B, out], s [B, in], bias [B, out]."""

    r: Tensor
    s: Tensor
    bias: Tensor | None


class _Factored(Noisy):
    """Takes the factors of every example from the setting `factors` of the `keyed` block, by layer; plain without."""

    def forward(self, input: Tensor) -> Tensor:
        factors, own = setting("factors"), self.means()
        if factors is None:
            return self.affine(input, own["weight"], own.get("bias"))
        r, s, bias = factors[self.path]
        output = self.affine(input * self.spread_out(s, input), own["weight"], None)
        output = output * self.spread_out(r, output)
        return output if bias is None else output + self.spread_out(bias, output)

    def spread_out(self, factor: Tensor, like: Tensor) -> Tensor:
        """Numbers [B, channels] in a shape that broadcasts against an input or output."""
        between = like.dim() - 2 - self.places
        return factor.reshape(factor.shape[0], *[1] * between, factor.shape[1], *[1] * self.places)


class FactoredLinear(_Factored, NoisyLinear):
    """A linear layer with factors."""


class FactoredConv2d(_Factored, NoisyConv2d):
    """A convolutional layer with factors."""


def with_factors(network: nn.Module) -> nn.Module:
    """A copy whose linear and convolutional layers take factors; parameters keep their names.

    Raises:
        UserError: parameters stand in a layer of another type, or a convolution has groups.
    """
    for path, layer in network.named_modules():
        if isinstance(layer, nn.Conv2d) and layer.groups != 1:
            raise UserError(
                f"The convolution {path!r} has groups={layer.groups}, and members that share its weight have no "
                "factors for it; take groups=1."
            )
    return replaced(network, {nn.Linear: FactoredLinear, nn.Conv2d: FactoredConv2d})


def product(weight: Tensor, r: Tensor, s: Tensor) -> Tensor:
    """W o (r s^T) of one member: weight [out, in, ...], r [out], s [in]."""
    places = [1] * (weight.dim() - 2)
    return weight * r.reshape(-1, 1, *places) * s.reshape(1, -1, *places)
