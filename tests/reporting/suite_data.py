"""Made-up results of the whole suite: every method, HMC with comparisons, pruning, weights, samplers, known truth."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
from report_data import TOYS, UCI, fill, gallery

from bnnbench.records import EvaluationRecord, MethodRecord, MetricRecord, Outcome, Score, Status
from bnnbench.store.store import ResultStore

SAMPLING = ("sgld", "psgld", "sghmc", "csgmcmc", "hmc")
OTHER = ("constant", "bbp-laplace", "bbp-mixture", "gp")
POINT = ("constant", "map")
SUITE = (
    "constant", "map", "ensemble-deep", "ensemble-bootstrap", "mc-dropout", "bbp-gaussian", "bbp-laplace",
    "bbp-mixture", "bbp-local", "bbp-flipout", "laplace-kron", "laplace-diag", "laplace-last", "swag", *SAMPLING,
    "laplace-full", "gp",
)  # fmt: skip
KINDS = {"constant": "baseline", "map": "optimisation", "mc-dropout": "dropout", "gp": "references"}
KINDS |= dict.fromkeys(("ensemble-deep", "ensemble-bootstrap", "swag"), "ensembles")
KINDS |= dict.fromkeys(SAMPLING, "sampling")
KINDS |= {name: "variational" for name in SUITE if name.startswith("bbp")}
KINDS |= {name: "laplace" for name in SUITE if name.startswith("laplace")}
ROLES = {"constant": "baseline", "hmc": "reference", "gp": "reference"}
SUITE_METHODS = tuple(
    MethodRecord(name, 1, "", (KINDS[name],), place, ROLES.get(name, "method"), name in OTHER)
    for place, name in enumerate(SUITE)
)
SUITE_METRICS = (
    MetricRecord("w1_to_hmc", -1, "sd of HMC", "Wasserstein-1 distance", order=10),
    MetricRecord("mean_gap", -1, "sd of HMC", "distance of the means", order=11),
    MetricRecord("log_sd_ratio", 0, "", "log ratio of the widths", order=12),
    MetricRecord("log_epistemic_ratio", 0, "", "log ratio of the epistemic widths", order=13),
    MetricRecord("kl_to_truth", -1, "nats", "KL divergence"),
)
FRACTIONS = ("0.10", "0.20", "0.40", "0.60", "0.80", "0.90", "0.99", "0.995")
PRUNABLE = ("map", "ensemble-deep", "ensemble-bootstrap", "mc-dropout", "bbp-gaussian", "bbp-laplace", "bbp-mixture",
            "bbp-local", "bbp-flipout", "laplace-diag", "swag", "sgld", "psgld", "sghmc", "csgmcmc")  # fmt: skip


def suite(
    splits: int = 10, names: tuple[str, ...] = SUITE, unconverged: tuple[str, ...] = ("energy",)
) -> list[Outcome]:
    """The gallery with all evaluations; HMC runs on first folds alone and is unconverged on the tasks named so."""
    outcomes = [o for o in gallery(splits, names, extra=False) if o.cell.method != "hmc" or o.cell.index == 0]
    return [complete(o, unconverged) for o in outcomes]


def suite_store(path: Path, outcomes: list[Outcome]) -> ResultStore:
    """A database of these outcomes, the whole suite registered."""
    store = fill(path, [], SUITE_METHODS)
    store.register((), (), SUITE_METRICS)
    store.record(1, outcomes)
    return store


def complete(o: Outcome, unconverged: tuple[str, ...] = ()) -> Outcome:
    """Add to a cell what a full run would evaluate."""
    rng = np.random.default_rng([len(o.cell.task), SUITE.index(o.cell.method), o.cell.index])
    name, task = o.cell.method, o.cell.task
    found = [_test(rng, e, name) if e.name == "test" else e for e in o.evaluations]
    if name in SAMPLING:
        found.append(_sampler(rng, name))
    if (task in UCI or task in TOYS) and o.cell.index == 0:
        found.append(EvaluationRecord("fidelity", 50, _fidelity(rng, name)))
    if name in PRUNABLE:
        test = next(e for e in found if e.name == "test")
        found += [_pruned(test, float(f), f, name) for f in FRACTIONS]
    if task in TOYS[:2]:
        found = [_with_exact(e) if e.name == "grid" else e for e in found]
        found += [_known(rng, where, name) for where in ("inside", "outside")]
    bad = name == "hmc" and task in unconverged
    return replace(o, evaluations=tuple(found), status=Status.UNCONVERGED if bad else o.status)


def _test(rng: np.random.Generator, e: EvaluationRecord, name: str) -> EvaluationRecord:
    scores = e.scores
    if name in SAMPLING:
        values = {
            "rhat": 1 + rng.exponential(0.1),
            "ess": rng.uniform(20, 2000),
            "share_converged": rng.uniform(0.5, 1),
        }
        scores += tuple(Score(k, v, None) for k, v in values.items())
    if name in ("constant", "gp"):
        return replace(e, scores=scores)
    edges = np.linspace(-4, 4, 81)
    scale = {"map": 0.05, "bbp-mixture": 0.02}.get(name, rng.uniform(0.3, 1.1))
    middle = 0.5 * (edges[1:] + edges[:-1])
    density = np.exp(-0.5 * (middle / scale) ** 2) + 0.002 * np.exp(-np.abs(middle))
    density /= density.sum() * 0.1
    curve = {"lower": edges[:-1], "upper": edges[1:], "density": density}
    return replace(e, scores=scores, curves={**e.curves, "weights": curve})


def _sampler(rng: np.random.Generator, name: str) -> EvaluationRecord:
    values = {
        "draws_kept": 100.0,
        "step_size": 3e-5 * rng.uniform(0.5, 2),
        "temperature_kinetic": rng.uniform(0.9, 1.2),
    }
    values |= {"acceptance": 0.83, "divergent": 3.0} if name == "hmc" else {"noise_deficit": rng.uniform(0, 0.3)}
    return EvaluationRecord("sampler", 1, tuple(Score(k, v, None) for k, v in values.items()))


def _fidelity(rng: np.random.Generator, name: str) -> tuple[Score, ...]:
    far = 0.02 if name == "hmc" else 0.05 + 0.05 * SUITE.index(name) * rng.uniform(0.7, 1.3)
    sign = -1 if name in POINT or "laplace" not in name else 1
    values = {
        "w1_to_hmc": far,
        "mean_gap": 0.6 * far,
        "log_sd_ratio": sign * 0.8 * far,
        "log_epistemic_ratio": -np.inf if name in POINT else sign * 1.5 * far,
    }
    return tuple(Score(k, float(v), None if np.isinf(v) else abs(float(v)) * 0.07) for k, v in values.items())


def _pruned(test: EvaluationRecord, fraction: float, text: str, name: str) -> EvaluationRecord:
    frailty = 0.2 + SUITE.index(name) / 10
    loss = frailty * (fraction / (1 - fraction)) ** 0.8 * 0.1
    values = {s.metric: s.value for s in test.scores}
    scores = [Score("log_likelihood", values["log_likelihood"] - loss, 0.1)]
    scores += [Score(m, values[m] * (1 + 0.3 * loss), 0.1) for m in ("rmse", "error") if m in values]
    return EvaluationRecord(f"pruned-{text}", test.n, tuple(scores))


def _with_exact(e: EvaluationRecord) -> EvaluationRecord:
    bands = e.curves["bands"]
    x, truth = np.asarray(bands["x"]), np.asarray(bands["truth"])
    std = 0.05 + 0.4 * np.clip(np.abs(x) - 3.5, 0, None) / 2.5
    exact = {"x": x, "mean": truth * (1 - std / 2), "std": std, "truth": truth, "truth_std": bands["truth_std"]}
    scores = (Score("kl_to_truth", 0.2, None),)
    return replace(e, scores=scores, curves={**e.curves, "exact": exact})


def _known(rng: np.random.Generator, where: str, name: str) -> EvaluationRecord:
    kl = (0.05 if where == "inside" else 0.6) * rng.uniform(0.5, 1.5)
    coverage = float(np.clip(rng.normal(0.94 if where == "inside" else 0.7, 0.04), 0, 1))
    return EvaluationRecord(where, 100, (Score("kl_to_truth", kl, None), Score("truth_coverage_95", coverage, None)))
