"""What a run tells the database of methods, tasks and metrics, for reports."""

from dataclasses import replace

import pytest
from helpers import PACKED

from bnnbench.engine.cell import Cell, default
from bnnbench.experiment.definitions import definitions
from bnnbench.methods import METHODS
from bnnbench.metrics import METRICS, Value, metric
from bnnbench.tasks import TASKS

HEADLINE = {
    "regression": ["log_likelihood", "rmse", "crps", "calibration_error"],
    "classification": ["log_likelihood", "error", "ece", "brier"],
    "density": ["nll", "kl_forward", "elbo", "iw_log_likelihood"],
    "variational": ["nll", "kl_forward", "elbo", "iw_log_likelihood"],
    "ood": [],
}


def cell(method: str, task: str = "toy-heteroscedastic") -> Cell:
    own = TASKS.get(task)
    return Cell(own, METHODS.get(method)(), own.rules[0], 0, 0, own.budget("smoke"))


REFERENCES = ["laplace-full", "hmc", "mclmc", "ensemble-mclmc", "ensemble-mcmc", "gp"]


def test_roles_and_targets_of_methods():
    methods, _, _ = definitions([cell(name) for name in METHODS.names()])
    roles = {record.name: record.role for record in methods}
    assert [name for name, role in roles.items() if role == "baseline"] == ["constant"]
    assert [name for name, role in roles.items() if role == "reference"] == REFERENCES
    assert set(roles.values()) == {"baseline", "reference", "method"}
    others = [record.name for record in methods if record.other_target]
    ours = ["constant", "ensemble-adversarial", "bbp-laplace", "bbp-mixture", "rank-1", "sngp", "gp"]
    adapters = ["sklearn-gp", "sklearn-bayesian-ridge", "sklearn-forest", "sklearn-extra-trees", "ngboost",
                "gpytorch-svgp", "vbll-package"]  # fmt: skip
    assert others == [*ours, *adapters]


def test_only_the_samples_of_images_have_a_warning():
    assert [task.name for task in TASKS if task.warning] == TASKS.groups()["images-sample"]
    careful = replace(TASKS.get("toy-heteroscedastic"), warning="Careful.")
    assert definitions([replace(cell("map"), task=careful)])[1][0].warning == "Careful."


@pytest.mark.parametrize("kind", HEADLINE)
def test_headline_metrics_of_a_kind_in_their_order(kind):
    shown = [record for record in definitions([])[2] if record.headline and kind in record.kinds]
    assert [record.name for record in shown] == HEADLINE[kind]
    assert [record.order for record in shown] == sorted(record.order for record in shown)


def test_a_metric_of_another_package_may_be_a_headline(monkeypatch):
    METRICS.discover()
    monkeypatch.setattr(METRICS, "_entries", dict(METRICS._entries))

    @metric("mae", kinds=("regression",), better=-1, unit="target", summary="mean absolute error", headline=True)
    def mae(c):
        return Value(0.0)

    metrics = definitions([])[2]
    shown = [record.name for record in metrics if record.headline and "regression" in record.kinds]
    assert shown == [*HEADLINE["regression"], mae.name]


def test_every_method_has_the_fields_that_a_task_sets():
    for task in TASKS:
        for cls in PACKED:
            if task.kind in cls.supports:
                default(cls, task).check()
