"""Keyed draws against `torch.randn`: throughput of a large draw, and what one small draw costs.

`pytest benchmarks/test_random.py --benchmark-enable`. 10 keys, as in a pack of ten folds; all cores (conftest.py).
Kernels are compiled before the clock starts.
"""

import pytest
import torch

from bnnbench import random

PACK = 10
KEYS = random.split(random.key_of("benchmark"), PACK)


@pytest.fixture(params=["eager", "compiled"])
def kernels(request):
    with random.compiled_kernels(request.param == "compiled"):
        yield request.param


@pytest.mark.benchmark(group="2.4 million normals")
def test_large_normals(benchmark, kernels):
    random.normal(KEYS, (8,))
    benchmark(random.normal, KEYS, (240_000,))


@pytest.mark.benchmark(group="2.4 million normals")
def test_large_randn(benchmark):
    benchmark(torch.randn, PACK, 240_000)


@pytest.mark.benchmark(group="a small draw")
@pytest.mark.parametrize(
    "draw",
    [
        pytest.param(lambda: random.normal(KEYS, (32,)), id="normal"),
        pytest.param(lambda: random.uniform(KEYS, (32,)), id="uniform"),
        pytest.param(lambda: random.randint(KEYS, (32,), 455), id="randint"),
        pytest.param(lambda: random.fold_in(KEYS, 3), id="fold_in"),
        pytest.param(lambda: random.split(KEYS), id="split"),
    ],
)
def test_small_draw(benchmark, kernels, draw):
    draw()
    benchmark(draw)


@pytest.mark.benchmark(group="a small draw")
def test_small_randn(benchmark):
    benchmark(torch.randn, PACK, 32)
