"""All charts by their names: adding one is one entry."""

from __future__ import annotations

from bnnbench.errors import UserError
from bnnbench.registry import nearest
from bnnbench.reporting.figures.paper import (
    bound,
    calibration,
    critical_difference,
    curves,
    digit,
    fidelity,
    flow_maps,
    pruning,
    scores,
    toy,
)
from bnnbench.reporting.figures.paper.chart import Chart

LINES = 9  # that can be followed in one panel: as many as there are markers
CURVES = 4  # of calibration, which lie close together
ROTATED = "an image task such as mnist, run with `--test-sets rotation`"
OUTSIDE = "an image task such as mnist, run with `--test-sets kmnist,notmnist`"
ATTACKED = "an image task such as mnist, run with `--test-sets fgsm,pgd`"
CERTIFIED = "tasks with a posterior of `hmc`: those of the group `fidelity`, which bring it along"

CHARTS = {
    chart.name: chart
    for chart in (
        Chart("scores", "A score as dots with standard errors, the best on top, beside the line of a reference.",
              "any task", scores.find, scores.draw, takes=("metric", "reference")),
        Chart("critical-difference", "Mean ranks over data sets, and which of them Nemenyi's test does not tell apart.",
              "two tasks or more of one kind", critical_difference.find, critical_difference.draw, tasks=100,
              takes=("metric",)),
        Chart("reliability", "Accuracy against confidence.", "classification, of tables or images",
              calibration.find_reliability, calibration.draw_reliability, most=CURVES),
        Chart("pit", "Calibration of predictive distributions: observed less predicted shares.", "regression",
              calibration.find_pit, calibration.draw_pit, most=CURVES),
        Chart("rotation", "Accuracy and entropies against the angle that images are rotated by.", ROTATED,
              curves.find_rotation, curves.draw_rotation, most=LINES, tasks=1),
        Chart("entropy", "Share of images above an entropy, of images of no known class and of test images.", OUTSIDE,
              curves.find_entropy, curves.draw_entropy, most=LINES, tasks=1),
        Chart("attacks", "Error against the strength of attacks, FGSM and PGD.", ATTACKED,
              curves.find_attacks, curves.draw_attacks, most=LINES, tasks=1),
        Chart("rotated-digit", "Violins of class probabilities of one digit, rotated further and further.",
              "mnist or mnist-lenet, run with `--test-sets rotation`", digit.find, digit.draw, most=5, tasks=1),
        Chart("toy", "Predictive distribution over a function of one input, beside data and truth.",
              "one task of the group toy, at budget quick or more", toy.find, toy.draw, tasks=1),
        Chart("fidelity", "Distance from the predictive of HMC, and on which side the others miss.", CERTIFIED,
              fidelity.find, fidelity.draw, tasks=9, takes=("metric",)),
        Chart("pruning", "Scores without the weights that are least sure, against the share removed.",
              "methods with a Gaussian posterior over weights, such as bbp-local",
              pruning.find, pruning.draw, most=LINES, takes=("metric",)),
        Chart("bound", "Minus the evidence lower bound along training.", "variational methods, such as bbp-local",
              bound.find, bound.draw, most=LINES),
        Chart("flow-maps", "Test data as noise, and noise as samples.", "moons, blobs or letters, and methods flow-...",
              flow_maps.find, flow_maps.draw, most=8, tasks=1),
    )
}  # fmt: skip


def chart_of(name: str) -> Chart:
    """By its name.

    Raises:
        UserError: there is none.
    """
    if name not in CHARTS:
        raise UserError(f"Unknown figure '{name}'{nearest(name, CHARTS)}")
    return CHARTS[name]
