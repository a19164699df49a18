"""Names of evaluations and splits: what is made is parsed again."""

from __future__ import annotations

import pytest

from bnnbench import names


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        (names.rotation(90), ("rotation", 90.0, False, False)),
        (names.rotation(15, exhaustive=True), ("rotation", 15.0, True, False)),
        (names.attack("fgsm-norm", 0.05), ("fgsm-norm", 0.05, False, False)),
        (names.attack("pgd", 0.3, exhaustive=True), ("pgd", 0.3, True, False)),
        (names.transferred(names.attack("fgsm", 0.1)), ("fgsm", 0.1, False, True)),
        (names.pruned(0.995), ("pruned", 0.995, False, False)),
    ],
)
def test_sweeps_are_parsed_as_they_were_made(name, parts):
    assert names.sweep(name) == parts


def test_spelling_that_databases_hold():
    assert names.rotation(0) == "rotation-000"
    assert names.attack("fgsm", 0.1, exhaustive=True) == "fgsm-0.10-all"
    assert (names.pruned(0.9), names.pruned(0.995), names.pruned(0.0)) == ("pruned-0.90", "pruned-0.995", "pruned-0.00")
    assert names.calibrated("conformal") == "test-conformal"
    assert names.transferred("pgd-0.10") == "transfer-pgd-0.10"


@pytest.mark.parametrize(
    "name", ["test", names.calibrated("temperature"), "kmnist", "fidelity-grid", "rotated-digit", "sampler"]
)
def test_other_names_are_no_sweeps(name):
    assert names.sweep(name) is None


def test_splits():
    assert names.split("10fold-grouped", 3) == "10fold-grouped-3"
    assert names.parse_split("10fold-grouped-3") == ("10fold-grouped", 3)
