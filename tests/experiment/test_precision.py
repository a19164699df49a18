"""`--precision`: what it changes, what keeps all digits, and how it is told."""

import subprocess
import sys
import threading

import numpy as np
import pandas as pd
import pytest
import torch
import worker_samples

import bnnbench
from bnnbench.engine import precision as module
from bnnbench.engine.cell import Cell
from bnnbench.engine.precision import FLOAT32, computing_in, is_rounded, precision_for, precision_of
from bnnbench.errors import UserError
from bnnbench.experiment.machine import session_record
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
    with computing_in("bf16"):
        found = x @ y
    expected = x.bfloat16().double() @ y.bfloat16().double()
    torch.testing.assert_close(found.double(), expected, rtol=0, atol=1e-4)
    assert (found - x @ y).abs().max() > 1e-3


SESSIONS = {  # what a notebook may have asked PyTorch for, by its older and its newer settings
    "legacy": "torch.set_float32_matmul_precision('medium')",
    "legacy-tf32": "torch.backends.cuda.matmul.allow_tf32 = True",
    "legacy-convolutions": "torch.backends.cudnn.allow_tf32 = False",
    "cuda": "torch.backends.cuda.matmul.fp32_precision = 'tf32'",
    "cudnn": "torch.backends.cudnn.conv.fp32_precision = 'ieee'",
    "products": "torch.backends.mkldnn.matmul.fp32_precision = 'bf16'",
    "convolutions": "torch.backends.mkldnn.conv.fp32_precision = 'bf16'",
    "all": "torch.backends.fp32_precision = 'tf32'",
}
SESSION = """
import sys
import torch
from bnnbench.engine.precision import OPERATIONS, computing_in

x, image, filters = torch.randn(64, 256), torch.randn(8, 16, 12, 12), torch.randn(32, 16, 3, 3)
found = lambda: [x @ x.T, torch.nn.functional.conv2d(image, filters)]
exact = [x.double() @ x.double().T, torch.nn.functional.conv2d(image.double(), filters.double())]
far = lambda: [float((a - b).abs().max()) > 1e-3 for a, b in zip(found(), exact)]
assert far() == [False, False]
exec(sys.argv[1])
settings = lambda: [operation.fp32_precision for operation in OPERATIONS]
before, rounded = settings(), far()
with computing_in("float32"):
    assert far() == [False, False]
    assert not torch.backends.cudnn.allow_tf32 and torch.get_float32_matmul_precision() == "highest"
    with computing_in("bf16"):
        print(far())
    with computing_in("tf32"):
        assert torch.backends.cudnn.allow_tf32 and torch.get_float32_matmul_precision() == "high"
    assert far() == [False, False]
assert settings() == before and far() == rounded
"""


@pytest.mark.parametrize("asked", SESSIONS.values(), ids=SESSIONS)
def test_a_session_that_rounds_is_left_as_it_was_and_changes_nothing(asked):
    done = subprocess.run([sys.executable, "-c", SESSION, asked], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.strip() == str([is_rounded("bf16", CPU)] * 2)


@ROUNDS
def test_nor_does_it_change_the_numbers_of_a_run_or_of_a_loaded_posterior(tmp_path):
    x, found = np.random.default_rng(0).normal(size=(20, 10)), []
    for asked in ("ieee", "bf16"):
        torch.backends.mkldnn.matmul.fp32_precision, db = asked, tmp_path / f"{asked}.db"
        try:
            bnnbench.run("map", "diabetes", splits="0", db=db, **LIKE)
            found.append(bnnbench.load(db, bnnbench.scores(db)["fingerprint"].iloc[0]).predict(x)["mean"])
        finally:
            torch.backends.mkldnn.matmul.fp32_precision = "none"
    pd.testing.assert_series_equal(scores(tmp_path / "ieee.db"), scores(tmp_path / "bf16.db"), check_exact=True)
    np.testing.assert_array_equal(*found)


def test_two_threads_do_not_compute_in_each_other_s_precision():
    seen, begun = [], threading.Event()

    def other():
        begun.set()
        with computing_in(FLOAT32):
            seen.append("other")

    with computing_in("tf32"):
        thread = threading.Thread(target=other)
        thread.start()
        begun.wait()
        thread.join(0.2)
        seen.append(torch.get_float32_matmul_precision())
    thread.join()
    assert seen == ["high", "other"]


def test_a_verdict_that_is_looked_at_holds_nobody_up():
    verdicts = bnnbench.check("constant")
    next(verdicts)
    assert torch.backends.cudnn.allow_tf32  # as before
    assert len(list(verdicts)) > 1


def test_a_cluster_s_machines_are_not_this_one():
    """Whether their products are rounded, they say themselves."""
    assert precision_of("tf32", torch.device("cuda"), here=False) == "tf32"


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
    with pytest.raises(UserError, match="--precision bf16 changes no product on this machine; leave it out"):
        precision_of("bf16", CPU)


@pytest.mark.parametrize(
    ("method", "wide", "narrow"),
    [("map", "bf16", FLOAT32), ("sghmc", "bf16", FLOAT32), ("ensemble-laplace", "bf16", FLOAT32),
     ("bbp-local", "bf16", FLOAT32), ("hmc", FLOAT32, FLOAT32), ("mclmc", FLOAT32, FLOAT32),
     ("ensemble-mcmc", FLOAT32, FLOAT32), ("ensemble-repulsive", FLOAT32, FLOAT32), ("constant", FLOAT32, FLOAT32),
     ("sklearn-mlp", FLOAT32, FLOAT32)],
)  # fmt: skip
def test_who_can_do_with_less(method, wide, narrow):
    cells = [Cell(task, METHODS.get(method)(), "fixed", 0, 0, BUDGETS["smoke"]) for task in tasks()]
    assert [precision_for(cell, "bf16") for cell in cells] == [wide, narrow]
    assert [precision_for(cell, FLOAT32) for cell in cells] == [FLOAT32, FLOAT32]


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")
def test_who_drives_a_cluster_of_gpus_may_have_none():
    assert session_record(torch.device("cuda"), "", 1, "tf32").device == session_record(CPU, "", 1).device
