"""torch's own generators under a key: for what a network draws by itself, as with `F.dropout` or `torch.rand`."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from bnnbench.errors import UserError

_RANDOM = """
    bernoulli bernoulli_ binomial cauchy_ exponential_ geometric_ gumbel_softmax log_normal_ multinomial normal normal_
    poisson rand rand_like randint randint_like randn randn_like random_ randperm uniform_
"""
# Functions that draw where all of these arguments are true or not 0: their place, name and default.
_DROPOUT = ((1, "p", 0.5), (2, "training", True))
_DRAWS = dict.fromkeys(_RANDOM.split(), ()) | {
    "dropout": _DROPOUT,
    "dropout1d": _DROPOUT,
    "dropout2d": _DROPOUT,
    "dropout3d": _DROPOUT,
    "alpha_dropout": ((1, "p", 0.5), (2, "training", False)),
    "feature_alpha_dropout": ((1, "p", 0.5), (2, "training", False)),
    "rrelu": ((3, "training", False),),
    "scaled_dot_product_attention": ((4, "dropout_p", 0.0),),
    "multi_head_attention_forward": ((10, "dropout_p", 0.0), (13, "training", True)),
}
_one_at_a_time = threading.RLock()  # the generators are shared by all threads, as is the stack of `keyed` blocks


@contextmanager
def seeded(key: Tensor, devices: Iterable[torch.device]) -> Iterator[None]:
    """Let the generators of the CPU and of these devices start from a hash of the key inside, and go on afterwards as
    if nothing had been drawn.

    Under `vmap` a key has no single value, and a compiled graph draws elsewhere: there nothing may be drawn.

    Raises:
        UserError: something was.
    """
    if torch.compiler.is_compiling():
        with _Undrawn():
            yield
        return
    with _one_at_a_time:
        yield from _seeded(key, devices)


def _seeded(key: Tensor, devices: Iterable[torch.device]) -> Iterator[None]:
    cuda = [torch.cuda.default_generators[device.index] for device in devices if device.type == "cuda"]
    generators = [torch.default_generator, *cuda]
    states = [generator.get_state() for generator in generators]
    transformed = torch._C._functorch.is_functorch_wrapped_tensor(key)  # type: ignore[attr-defined]
    try:
        if not transformed:
            seed = _seed(key)
            for generator in generators:
                generator.manual_seed(seed)
        yield
        if transformed and any(not torch.equal(a.get_state(), b) for a, b in zip(generators, states, strict=True)):
            raise _refused("under a transform of `torch.func`")
    finally:
        for generator, state in zip(generators, states, strict=True):
            generator.set_state(state)


class _Undrawn(TorchFunctionMode):
    """Refuses the functions of torch that draw, while a graph is traced."""

    def __torch_function__(
        self,
        func: Callable,
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        del types
        named = kwargs or {}
        switches = _DRAWS.get(func.__name__)
        if switches is not None and all(
            args[place] if place < len(args) else named.get(name, default) for place, name, default in switches
        ):
            raise _refused("in a compiled graph")
        return func(*args, **named)


def _refused(where: str) -> UserError:
    return UserError(
        f"The network draws from torch's global generator {where}, where no key reaches it; put nn.Dropout in the "
        "place of other dropout, and `bnnbench.random` with `bnnbench.layers.next_key()` in that of other draws."
    )


def _seed(key: Tensor) -> int:
    """64 bits of the key's sha256: the streams of `torch.manual_seed(0)`, `(1)` ... are the user's own."""
    return int.from_bytes(hashlib.sha256(key.cpu().numpy().tobytes()).digest()[:8])
