"""Which layers of a plain network `convert` makes Bayesian, and what to do about networks that it cannot take."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.lazy import LazyModuleMixin
from torch.nn.parallel import DataParallel, DistributedDataParallel
from torch.utils._pytree import tree_leaves

from bnnbench.errors import UserError
from bnnbench.layers.fixed import FIXABLE, FixedNorm
from bnnbench.layers.noisy import Noisy
from bnnbench.registry import nearest

Choice = str | Iterable[str] | Callable[[str, nn.Module], bool] | None

SUPPORTED = (nn.Linear, nn.Conv2d)
NORMS = {nn.GroupNorm: "affine=False", nn.LayerNorm: "elementwise_affine=False", nn.RMSNorm: "elementwise_affine=False"}
NORMS |= dict.fromkeys((nn.InstanceNorm1d, nn.InstanceNorm2d, nn.InstanceNorm3d), "affine=False")


def chosen(net: nn.Module, choice: Choice) -> list[str]:
    """Paths of the linear and convolutional layers that are to be Bayesian: those chosen, less the frozen ones.

    Args:
        choice: None for all, names of layers or of what holds them, or a predicate of a layer's path and itself.

    Raises:
        UserError: the network, or something in what was named, cannot be converted, or nothing is left; the sentence
            names the layer and the remedy.
    """
    if not isinstance(net, nn.Module):
        raise UserError(f"`convert` takes a network (torch.nn.Module), not a {type(net).__name__}.")
    paths = {path: layer for path, layer in net.named_modules() if type(layer) in SUPPORTED}
    for path, layer in net.named_modules():
        _check_kind(_what(path, layer), layer)
    if callable(choice):
        wanted = [path for path, layer in paths.items() if choice(path, layer)]
    else:
        named = {id(layer) for layer in _named(net, choice, paths)}
        for path, layer in net.named_modules():
            if id(layer) in named:
                _check_parameters(_what(path, layer), layer)
        wanted = [path for path, layer in paths.items() if id(layer) in named]
    if not paths:
        raise UserError("The network has no nn.Linear or nn.Conv2d layer that could be made Bayesian; give it one.")
    if not wanted:
        raise UserError(f"`layers` chooses no layer; there are {', '.join(map(repr, paths))}.")
    found = [path for path in wanted if not _frozen(_what(path, paths[path]), paths[path])]
    if not found:
        raise UserError(
            f"All layers chosen ({', '.join(map(repr, wanted))}) are frozen, and stay as they are; call "
            "`requires_grad_()` on one that is to be Bayesian."
        )
    _check_shared(net, found)
    return found


def _named(net: nn.Module, names: str | Iterable[str] | None, paths: Iterable[str]) -> Iterator[nn.Module]:
    """The layers named, with all inside of them."""
    names = [""] if names is None else [names] if isinstance(names, str) else names
    for name in names:
        if not isinstance(name, str):
            raise UserError(f"`layers` takes names of layers or a function of name and layer, not {name!r}.")
        try:
            inside = list(net.get_submodule(name).modules())
        except AttributeError:
            known = [path for path, _ in net.named_modules(remove_duplicate=False) if path]
            raise UserError(f"The network has no layer {name!r}{nearest(name, known)}") from None
        if name and not any(type(layer) in SUPPORTED for layer in inside):
            raise UserError(f"{name!r} holds no nn.Linear or nn.Conv2d layer{nearest(name, paths)}")
        yield from inside


def _what(path: str, layer: nn.Module) -> str:
    return f"The layer {path!r} ({type(layer).__name__})" if path else f"The network ({type(layer).__name__})"


def _check_kind(what: str, layer: nn.Module) -> None:
    """Pass a layer that can stand in a Bayesian network, be it Bayesian or not."""
    if isinstance(layer, Noisy | FixedNorm):
        raise UserError(f"{what} comes from `convert` already; convert the plain network.")
    if isinstance(layer, DataParallel | DistributedDataParallel) or hasattr(layer, "_orig_mod"):
        raise UserError(f"{what} wraps a network; convert the one inside, and wrap or compile what comes out.")
    if isinstance(layer, LazyModuleMixin):
        raise UserError(f"{what} has no weights yet; call the network on an example before you convert it.")
    if isinstance(layer, _BatchNorm) and (type(layer) not in FIXABLE or layer.training or layer.running_mean is None):
        raise UserError(
            f"{what} makes an example's output depend on its batch, so that examples have no likelihood of their own; "
            "call `eval()` on it if its running statistics are to be kept for good, or put nn.GroupNorm(groups, "
            "channels, affine=False) in its place."
        )


def _check_parameters(what: str, layer: nn.Module) -> None:
    """Pass a layer that holds no parameters of its own but fixed ones, or is of a supported type."""
    trained = [name for name, value in layer.named_parameters(recurse=False) if value.requires_grad]
    if not trained or type(layer) in (*SUPPORTED, *FIXABLE):
        return
    remedy = "choose the layers that are to be Bayesian by `layers=`, freeze it (`requires_grad_(False)`), or "
    if type(layer) in NORMS:
        remedy += f"make it with {NORMS[type(layer)]}"
        raise UserError(f"{what} holds parameters, which have no Bayesian version; {remedy}.")
    raise UserError(
        f"{what} holds parameters of its own, which have no Bayesian version; {remedy}put nn.Linear or nn.Conv2d "
        "layers in its place."
    )


def _frozen(what: str, layer: nn.Module) -> bool:
    """Whether a chosen layer stays as it is; pass one whose weights are its own and train, all or none."""
    own = dict(layer.named_parameters(recurse=False))
    trained = [name for name, value in own.items() if value.requires_grad]
    if not trained:
        return True
    if not {"weight"} <= own.keys() <= {"weight", "bias"}:
        raise UserError(f"{what} computes its weight from other parameters; remove its pruning or norm first.")
    if "forward" in vars(layer):
        raise UserError(f"{what} has had its `forward` replaced, which no draw would reach; convert it before that.")
    if len(trained) < len(own):
        raise UserError(f"{what} trains its {trained[0]} alone; freeze all of the layer or nothing.")
    if not own["weight"].is_floating_point():
        raise UserError(f"{what} has weights of {own['weight'].dtype}, for which there is no prior; take real ones.")
    return False


def _check_shared(net: nn.Module, paths: list[str]) -> None:
    """Pass a network that holds the parameters of these layers in one place each."""
    first: dict[int, str] = {}
    for path in paths:
        for name, value in net.get_submodule(path).named_parameters(path, recurse=False):
            known = first.setdefault(_address(value), name)
            if known != name:
                raise _shared(known, name, "whose KL would count twice")
    for path, layer in net.named_modules():
        for name, value in _held(path, layer):
            known = first.get(_address(value), name)
            if known != name:
                raise _shared(known, name, "drawn in one place and not in the other")


def _held(path: str, layer: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """Names and tensors: a layer's own parameters, and whatever its other attributes hold."""
    yield from layer.named_parameters(path, recurse=False)
    for name, value in vars(layer).items():
        if name not in ("_parameters", "_modules"):
            place = f"{path}.{name}" if path else name
            yield from ((place, leaf) for leaf in tree_leaves(value) if isinstance(leaf, Tensor))


def _shared(one: str, other: str, why: str) -> UserError:
    return UserError(
        f"The parameters {one!r} and {other!r} are one tensor, {why}; give each layer parameters of its own, or call "
        f"one layer twice, or read its weight in the forward pass, as in `F.linear(x, self.{one})`."
    )


def _address(value: Tensor) -> int:
    """Where the numbers lie, for a tensor may share them with another; of one without numbers, itself."""
    return value.data_ptr() or id(value)
