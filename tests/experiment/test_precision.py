"""`--precision`: what it changes, what keeps all digits, and how it is told."""

import pandas as pd
import pytest
import torch
import worker_samples

import bnnbench
from bnnbench.engine import precision as module
from bnnbench.engine.cell import Cell
from bnnbench.engine.precision import FLOAT32, is_rounded, precision_for, precision_of, products
from bnnbench.errors import UserError
from bnnbench.methods import METHODS
from bnnbench.store.store import ResultStore
from bnnbench.tasks.budget import BUDGETS

CPU = torch.device("cpu")
LIKE = {"budget": "smoke", "device": "cpu", "jobs": 1, "threads": 1}
ROUNDS = pytest.mark.skipif(not is_rounded("bf16", CPU), reason="this processor multiplies in float32 alone")


def tasks():
    return [worker_samples.task("wide", (300, 300)), worker_samples.task("narrow", (8,))]


def scores(db):
    found = bnnbench.scores(db, evaluation="test")
    return found.set_index(["task", "method", "metric"])["value"]


@ROUNDS
def test_updates_of_large_networks_alone_are_rounded_and_say_so(tmp_path):
    exact, rounded = tmp_path / "exact.db", tmp_path / "rounded.db"
    bnnbench.run("map", tasks(), db=exact, **LIKE)
    bnnbench.run("map", tasks(), db=rounded, precision="bf16", **LIKE)
    one, other = scores(exact), scores(rounded)
    changed = {key[:2] for key in one.index[one != other]}
    assert changed == {("wide", "map")}
    assert one["wide", "map", "log_likelihood"] == pytest.approx(other["wide", "map", "log_likelihood"], abs=0.05)
    with ResultStore(rounded, read_only=True) as store:
        devices = store.sessions().set_index("id")["device"]
        said = {(row["task"], row["method"]): devices[row["session"]] for _, row in store.attempts().iterrows()}
    assert [key for key, device in said.items() if device.endswith(", products in bf16")] == [("wide", "map")]


@ROUNDS
def test_a_product_in_bf16_is_that_of_rounded_factors():
    """Its factors have 8 significant bits, its sum has 24."""
    generator = torch.Generator().manual_seed(0)
    x, y = torch.randn(64, 256, generator=generator), torch.randn(256, 64, generator=generator)
    with products("bf16"):
        found = x @ y
    expected = x.bfloat16().double() @ y.bfloat16().double()
    torch.testing.assert_close(found.double(), expected, rtol=0, atol=1e-4)
    assert (found - x @ y).abs().max() > 1e-3


@ROUNDS
def test_a_session_that_rounds_its_products_changes_no_number(tmp_path):
    """A notebook may have asked PyTorch for fast products."""
    wide = tasks()[0]
    bnnbench.run("map", wide, db=tmp_path / "before.db", **LIKE)
    torch.set_float32_matmul_precision("medium")
    try:
        bnnbench.run("map", wide, db=tmp_path / "after.db", **LIKE)
        assert torch.get_float32_matmul_precision() == "medium"
    finally:
        torch.set_float32_matmul_precision("highest")
    pd.testing.assert_series_equal(scores(tmp_path / "before.db"), scores(tmp_path / "after.db"), check_exact=True)


def test_convolutions_on_a_gpu_are_no_exception():
    """PyTorch rounds them by default."""
    assert torch.backends.cudnn.allow_tf32
    with products(FLOAT32):
        assert not torch.backends.cudnn.allow_tf32
        with products("tf32"):
            assert torch.backends.cudnn.allow_tf32
            assert torch.get_float32_matmul_precision() == "high"
        assert not torch.backends.cudnn.allow_tf32
    assert (torch.backends.cudnn.allow_tf32, torch.get_float32_matmul_precision()) == (True, "highest")


@pytest.mark.parametrize(
    ("asked", "device", "said"),
    [
        ("tf32", "cpu", "--precision must be float32 or bf16 on device cpu, not 'tf32'."),
        ("bf16", "cuda", "--precision must be float32 or tf32 on device cuda, not 'bf16'."),
        ("half", "cpu", "--precision must be float32 or bf16 on device cpu, not 'half'."),
        (16, "cpu", "--precision must be a string, not 16."),
    ],
)
def test_what_a_device_does_not_have_is_refused(asked, device, said):
    with pytest.raises(UserError) as caught:
        precision_of(asked, torch.device(device))
    assert str(caught.value) == said


def test_a_processor_without_it_refuses(monkeypatch):
    monkeypatch.setattr(module, "is_rounded", lambda precision, device: False)
    with pytest.raises(UserError, match="--precision bf16 changes no product on this device; leave it out"):
        precision_of("bf16", CPU)


@pytest.mark.parametrize(
    ("method", "wide", "narrow"),
    [("map", "bf16", FLOAT32), ("sgld", "bf16", FLOAT32), ("hmc", FLOAT32, FLOAT32), ("mclmc", FLOAT32, FLOAT32),
     ("ensemble-mcmc", FLOAT32, FLOAT32), ("sklearn-mlp", FLOAT32, FLOAT32)],
)  # fmt: skip
def test_who_can_do_with_less(method, wide, narrow):
    cells = [Cell(task, METHODS.get(method)(), "fixed", 0, 0, BUDGETS["smoke"]) for task in tasks()]
    assert [precision_for(cell, "bf16") for cell in cells] == [wide, narrow]
    assert [precision_for(cell, FLOAT32) for cell in cells] == [FLOAT32, FLOAT32]
