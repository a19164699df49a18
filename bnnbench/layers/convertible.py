"""Which plain networks `convert` can take, and what to do about the others."""

from __future__ import annotations

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.dropout import _DropoutNd
from torch.nn.modules.lazy import LazyModuleMixin

from bnnbench.errors import UserError

SUPPORTED = (nn.Linear, nn.Conv2d)
NORMS = {nn.GroupNorm: "affine=False", nn.LayerNorm: "elementwise_affine=False", nn.RMSNorm: "elementwise_affine=False"}
NORMS |= dict.fromkeys((nn.InstanceNorm1d, nn.InstanceNorm2d, nn.InstanceNorm3d), "affine=False")


def check_convertible(net: nn.Module) -> None:
    """Pass a network all of whose parameters are weights and biases of linear and convolutional layers.

    Raises:
        UserError: it is another one; the sentence names the layer and the remedy.
    """
    for path, layer in net.named_modules():
        _check(
            f"The layer {path!r} ({type(layer).__name__})" if path else f"The network ({type(layer).__name__})", layer
        )
    if not any(type(layer) in SUPPORTED for layer in net.modules()):
        raise UserError("The network has no nn.Linear or nn.Conv2d layer that could be made Bayesian; give it one.")
    names: dict[int, str] = {}
    for name, value in net.named_parameters(remove_duplicate=False):
        owner, shared = net.get_submodule(name.rpartition(".")[0]), names.setdefault(id(value), name)
        if owner is not net.get_submodule(shared.rpartition(".")[0]):
            raise UserError(
                f"The parameters {shared!r} and {name!r} are one tensor, whose KL would count twice; give each layer "
                "parameters of its own."
            )


def _check(what: str, layer: nn.Module) -> None:
    """Pass a layer without parameters and randomness of its own, or of a supported type."""
    names = {name for name, _ in layer.named_parameters(recurse=False)}
    if isinstance(layer, _BatchNorm):
        raise UserError(
            f"{what} makes an example's output depend on its batch, so that examples have no likelihood of their own; "
            "put nn.GroupNorm(groups, channels, affine=False) in its place."
        )
    if isinstance(layer, LazyModuleMixin):
        raise UserError(f"{what} has no weights yet; call the network on an example before you convert it.")
    if (isinstance(layer, _DropoutNd) and type(layer) is not nn.Dropout) or type(layer) is nn.RReLU:
        raise UserError(
            f"{what} draws from torch's global generator; leave it out, or put nn.Dropout in its place, which "
            "`convert` gives keys."
        )
    if type(layer) in SUPPORTED and {"weight"} <= names <= {"weight", "bias"}:
        return
    if type(layer) in SUPPORTED:
        raise UserError(f"{what} computes its weight from other parameters; remove its pruning or norm first.")
    if names and type(layer) in NORMS:
        raise UserError(f"{what} holds parameters, which have no Bayesian version; make it with {NORMS[type(layer)]}.")
    if names:
        raise UserError(
            f"{what} holds parameters of its own, which have no Bayesian version; put nn.Linear or nn.Conv2d layers in "
            "its place, or make those values buffers if they are constants."
        )
