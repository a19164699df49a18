"""Keyed, counter-based draws: a draw is a function of its key, never of a hidden state.

A key is an int32 tensor [..., 2]. Every draw takes the key first; leading dimensions of the key are a batch of
independent streams, and `torch.func.vmap` over keys (nested too, `randomness="error"`) is one kernel call on that
batch. No global generator is read. Numbers depend on the key, the kind of draw, the shape and the dtype alone: not
on neighbours in the batch, on vmap, on `torch.compile`, on the number of threads, or on which kernel computes them.

A key may serve once per kind of draw: `split`, `fold_in`, `bits`, `uniform`, `bernoulli`, `randint`, `permutation`,
`normal` and `gamma` encrypt different counters, so draws of different kinds from one key are independent. Two draws
of one kind need two keys (`split`, `fold_in`). Draws are constants to autograd.

The generator is Threefry-2x32-20 (Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3"). On a CPU a
kernel in C computes it, which the system's compiler builds at first use (`native.py`); without a compiler the same
numbers come from PyTorch, many times slower.
"""

from bnnbench.random.distributions import bernoulli, bits, gamma, normal, permutation, randint, uniform
from bnnbench.random.keys import Span, checked_seed, fold_in, is_key, key, key_of, seed_of, split
from bnnbench.random.pytorch import compiled_kernels

__all__ = [
    "Span",
    "bernoulli",
    "bits",
    "checked_seed",
    "compiled_kernels",
    "fold_in",
    "gamma",
    "is_key",
    "key",
    "key_of",
    "normal",
    "permutation",
    "randint",
    "seed_of",
    "split",
    "uniform",
]
