"""Whose prior a task has: its own, or that of its kind."""

from dataclasses import replace

import pytest
from helpers import TASKS as SYNTHETIC
from helpers import make_cells, make_pack

from bnnbench.model import GaussianPrior
from bnnbench.tasks import TASKS
from bnnbench.tasks.base import PRIORS


def prior_of(cells):
    return make_pack(cells).problem.prior


@pytest.mark.parametrize("kind", ["heteroscedastic", "homoscedastic", "classification"])
def test_tables_have_the_prior_of_their_kind(kind):
    scale = 4.0 if kind == "classification" else 1.0
    assert prior_of(make_cells("map", kind, folds=[0])) == GaussianPrior(scale)


def test_a_task_may_have_one_of_its_own():
    own = replace(SYNTHETIC["classification"], prior=GaussianPrior(scale=0.5))
    (cell,) = make_cells("map", "classification", folds=[0])
    assert prior_of([replace(cell, task=own)]) == GaussianPrior(0.5)


def test_all_shipped_classifications_have_one_prior():
    """And MAP and Laplace are fitted under the same."""
    shipped = [task for task in TASKS if task.kind == "classification" and "synthetic" not in task.groups]
    assert {task.prior for task in shipped} == {None}
    cells = [replace(make_cells(m)[0], task=TASKS.get("digits"), rule="10fold") for m in ("map", "laplace-kron")]
    assert {prior_of([cell]) for cell in cells} == {PRIORS["classification"]}
