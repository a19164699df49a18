"""The columns behind the figures agree with the scores they picture."""

import math

import pytest
import torch

from bnnbench.metrics import curves, score
from bnnbench.model.predictive import CategoricalPredictive, GaussianPredictive


def test_pit_ecdf_holds_the_calibration_error():
    rng = torch.Generator().manual_seed(0)
    p = GaussianPredictive(torch.randn(4, 100, generator=rng), torch.rand(4, 100, generator=rng) + 0.2)
    y = torch.randn(100, generator=rng)
    got = curves.pit_ecdf(p, y)
    assert got["level"] == [k / 100 for k in range(1, 100)]
    assert got["ecdf"] == sorted(got["ecdf"])
    error = sum(abs(f - u) for f, u in zip(got["ecdf"], got["level"], strict=True)) / 99
    assert error == pytest.approx({s.metric: s.value for s in score(p, y, None, "regression")}["calibration_error"])


def test_reliability_holds_the_ece():
    rng = torch.Generator().manual_seed(0)
    p = CategoricalPredictive(torch.log_softmax(3 * torch.randn(4, 300, 5, generator=rng), -1))
    y = torch.randint(5, (300,), generator=rng)
    got = curves.reliability(p, y)
    assert sum(got["count"]) == 300
    assert got["lower"] == pytest.approx([b / 15 for b in range(15)])
    full = [b for b in range(15) if got["count"][b]]
    assert all(b / 15 < got["confidence"][b] <= (b + 1) / 15 for b in full)
    ece = sum(got["count"][b] * abs(got["accuracy"][b] - got["confidence"][b]) for b in full) / 300
    assert ece == pytest.approx({s.metric: s.value for s in score(p, y, None, "classification")}["ece"])


def test_empty_bins_are_kept_as_nan():
    p = CategoricalPredictive(torch.tensor([[[1.0, 0.0], [0.0, 1.0]]]).log())
    got = curves.reliability(p, torch.tensor([0, 0]))
    assert got["count"] == [0.0] * 14 + [2.0]
    assert (got["confidence"][-1], got["accuracy"][-1]) == (1.0, 0.5)
    assert all(math.isnan(value) for name in ("confidence", "accuracy") for value in got[name][:-1])


def test_bands():
    got = curves.bands(GaussianPredictive(torch.tensor([[0.0], [6.0]]), torch.tensor([[4.0], [4.0]])))
    assert got == {"mean": [3.0], "aleatoric_std": [4.0], "epistemic_std": [3.0], "total_std": [5.0]}
