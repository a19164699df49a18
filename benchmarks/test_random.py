"""Keyed draws beside those of others: a large one, one of a small layer, what a tiny one costs, and the first.

`pytest benchmarks/test_random.py --benchmark-enable --benchmark-sort=name`. 10 keys, as in a pack of ten folds; all
cores (conftest.py), of which `torch.randn` and NumPy use one. Kernels are compiled before the clock starts, except
where that is what is timed; Inductor takes minutes (`-k "not inductor"` leaves it out).
"""

import itertools
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor
from torch._inductor.utils import fresh_cache

from bnnbench import random
from bnnbench.random import native, operator, pytorch

PACK = 10
KEYS = random.split(random.key_of("benchmark"), PACK)


def inductor(size: int) -> Callable[[], Tensor]:
    """The kernel that torch.compile makes, as on a GPU."""
    kernel = pytorch.compiled_kernel(True, True, KEYS.device)
    rows = torch.nn.functional.pad(KEYS, (0, 1))
    return lambda: kernel(rows, size // 2, operator.NORMAL)


def philox(size: int) -> Callable[[], np.ndarray]:
    generator = np.random.Generator(np.random.Philox(0))
    return lambda: generator.standard_normal((PACK, size), dtype=np.float32)


DRAWS = {
    "c": lambda size: lambda: random.normal(KEYS, (size,)),
    "inductor": inductor,
    "eager": lambda size: lambda: pytorch.drawn(KEYS, size, operator.NORMAL, normal=True),
    "randn": lambda size: lambda: torch.randn(PACK, size),
    "numpy-philox": philox,
}


@pytest.mark.benchmark(group="2.4 million normals")
@pytest.mark.parametrize("kind", DRAWS)
def test_large_normals(benchmark, kind):
    benchmark(DRAWS[kind](240_000))


@pytest.mark.benchmark(group="1,000 normals for each of 10 keys")
@pytest.mark.parametrize("kind", DRAWS)
def test_normals_of_a_layer(benchmark, kind):
    benchmark(DRAWS[kind](1000))


@pytest.mark.benchmark(group="a small draw")
@pytest.mark.parametrize(
    "draw",
    [
        pytest.param(lambda: random.normal(KEYS, (32,)), id="normal"),
        pytest.param(lambda: random.uniform(KEYS, (32,)), id="uniform"),
        pytest.param(lambda: random.randint(KEYS, (32,), 455), id="randint"),
        pytest.param(lambda: random.fold_in(KEYS, 3), id="fold_in"),
        pytest.param(lambda: random.split(KEYS), id="split"),
        pytest.param(lambda: torch.randn(PACK, 32), id="randn"),
    ],
)
def test_small_draw(benchmark, draw):
    benchmark(draw)


@pytest.mark.benchmark(group="the first draw")
@pytest.mark.parametrize("cache", ["cold", "warm"])
def test_first_draw_by_c(benchmark, monkeypatch, tmp_path, cache):
    """Finding, building and testing the library."""
    folders = (tmp_path / (str(i) if cache == "cold" else "kept") for i in itertools.count())

    def forgotten():
        folder = next(folders)
        monkeypatch.setattr(native, "_cache_folder", lambda: folder)
        native.kernel.cache_clear()

    forgotten()
    native.kernel()
    benchmark.pedantic(lambda: random.normal(KEYS, (32,)), setup=forgotten, rounds=5)


@pytest.mark.benchmark(group="the first draw")
def test_first_draw_by_inductor(benchmark):
    """Once, with nothing in its cache, PyTorch's precompiled header included."""

    def forgotten():
        torch.compiler.reset()
        pytorch.compiled_kernel.cache_clear()

    with fresh_cache():
        benchmark.pedantic(lambda: inductor(32)(), setup=forgotten, rounds=1)
    forgotten()
