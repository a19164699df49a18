"""Numbers from the literature for tasks whose protocol some paper shares: the file beside this."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from functools import cache
from pathlib import Path

FILE = Path(__file__).with_name("published.csv")
PROTOCOLS = {"mnist": ("mnist_classification", "mnist", "MLP 2x1200 ReLU")}  # our task -> theirs, data set, network
# Published metric -> ours, and what to multiply by; an accuracy is made an error.
UNITS = {
    "test_ll": ("log_likelihood", 1.0),
    "test_ll_sum_10000": ("log_likelihood", 1e-4),
    "test_nll": ("log_likelihood", -1.0),
    "test_error_pct": ("error", 0.01),
    "test_accuracy_pct": ("error", 0.01),
    "test_ece": ("ece", 1.0),
}
SAME = {
    "map": ("MAP [Antoran]", "SGD"),
    "ensemble-bootstrap": ("MAP bootstrap ensemble [Antoran]",),
    "mc-dropout": ("MC dropout p=0.5 [Antoran]", "SGD + dropout"),
    "bbp-gaussian": ("BBP Gaussian prior (sigma 0.1) [Antoran]", "Bayes by Backprop, Gaussian prior"),
    "bbp-mixture": (
        "BBP GMM prior (sigma1 0.1, sigma2 0.0005, pi 0.75) [Antoran]",
        "Bayes by Backprop, scale-mixture prior",
    ),
    "bbp-laplace": ("BBP Laplace prior (b 0.1) [Antoran]",),
    "bbp-local": ("BBP local reparametrisation (Gaussian prior) [Antoran]",),
    "laplace-kron": ("K-FAC Laplace (prior sigma 0.15) [Antoran]",),
    "sgld": ("SGLD [Antoran]",),
    "psgld": ("pSGLD (RMSprop) [Antoran]",),
}  # method of the suite -> the published ones that are the same or nearest to it
SHORT = (("JavierAntoran", "Antoran"), ("1505.05424", "Blundell"))
NOTES = {
    "mnist": (
        "Published: the same network (784-1200-1200-10, ReLU) without augmentation. Antoran: "
        "github.com/JavierAntoran/Bayesian-Neural-Networks, table of the README, and for laplace-kron its K-FAC "
        "notebook; all 60,000 training images, no tuning, and for bbp-mixture and laplace-kron the weights of the "
        "least test error, a selection on the test set; its log-likelihoods are sums over 10,000 test images, here "
        "divided by 10,000. Blundell: Blundell et al. 2015 (arXiv:1505.05424), table 1; 50,000 training images, "
        "10,000 validation images, up to 600 epochs. Ours train on 55,000 images and validate on the other 5,000; "
        "the test images choose nothing. Budgets, priors and learning rates differ too: do not expect agreement "
        "within standard errors."
    )
}


@dataclass(frozen=True)
class Quoted:
    """One published number in the suite's units (nats per image, share of wrong classes)."""

    method: str
    metric: str
    value: float
    source: str
    locator: str
    note: str

    @property
    def short(self) -> str:
        """Who published it, in a word."""
        return next((name for part, name in SHORT if part in self.source), "others")

    @property
    def nearest(self) -> str:
        """Method of the suite that is the same or nearest; empty: none."""
        return next((name for name, same in SAME.items() if self.method in same), "")


@cache
def shipped() -> tuple[dict[str, str], ...]:
    """All rows of the file beside this, as they stand there."""
    with FILE.open(encoding="utf-8", newline="") as file:
        return tuple(csv.DictReader(file))


def literature(task: str) -> list[Quoted]:
    """Numbers of the task's own protocol; one that the file holds twice is listed once."""
    found: dict[tuple[str, str, str], Quoted] = {}
    for r in shipped():
        if (r["task"], r["dataset"], r["network"]) != PROTOCOLS.get(task) or r["metric"] not in UNITS:
            continue
        if r["confidence"] != "high":  # numbers from memory or second hand are no reference
            continue
        metric, factor = UNITS[r["metric"]]
        value = float(r["value"])
        value = (100 - value if r["metric"] == "test_accuracy_pct" else value) * factor
        quoted = Quoted(r["method"], metric, value, r["source"], r["locator"], r["note"])
        found.setdefault((quoted.method, metric, quoted.source), quoted)
    return list(found.values())


def beside(quoted: list[Quoted], method: str, metric: str, short: str) -> float | None:
    """What one source says of a method of the suite."""
    names = SAME.get(method, ())
    return next((q.value for q in quoted if q.method in names and q.metric == metric and q.short == short), None)
