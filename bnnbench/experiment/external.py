"""Scores of predictions that were made elsewhere, by every metric that their form allows: cells of origin `external`.

All of them are checked and scored before anything is stored. What they are scored by is what trained cells are scored
by: the same rows in the same order, the same metrics, the same keys.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from bnnbench import names, random
from bnnbench.errors import UserError
from bnnbench.evaluation.blocks import block_scores
from bnnbench.evaluation.figure_data import calibration_data
from bnnbench.evaluation.kept import to_arrays
from bnnbench.experiment.definitions import metric_records, task_record
from bnnbench.experiment.machine import command, session_record
from bnnbench.methods import METHODS
from bnnbench.metrics import METRICS, score
from bnnbench.predictions.files import files_of, read
from bnnbench.predictions.forms import Arrays, Given, given, refuse_kind
from bnnbench.predictions.split import Wanted
from bnnbench.records import CellRecord, EvaluationRecord, MethodRecord, Origin, Outcome, Status, canonical
from bnnbench.registry import ALL
from bnnbench.store.store import ResultStore
from bnnbench.tasks import Task
from bnnbench.tasks.base import NAME

VERSION, SEED = 1, 0  # of cells that were not trained here
TAG = "external"


@dataclass(frozen=True)
class Declared:
    """What is told of the predictions.

    Attributes:
        method: the name under which they stand in tables. citation: where it comes from.
        gradients: minibatch gradients that each split cost, 0 if that is not known.
        budget: beside the trained cells of which budget they are to stand.
    """

    method: str
    citation: str = ""
    gradients: int = 0
    budget: str = "quick"


@dataclass(frozen=True)
class Target:
    """Where predictions belong to: a task, a split rule, and the root of the task's data."""

    task: Task
    rule: str
    root: Path | None = None


@dataclass(frozen=True)
class Scored:
    """What became of the predictions.

    Attributes:
        task, method, rule, budget: where they stand in tables.
        splits: name of each split -> `scored`, `replaced` or `unchanged`.
        forms: forms of the predictions, in words.
        metrics: names of those that scored them. left_out: names of those that their form does not allow.
    """

    task: str
    method: str
    rule: str
    budget: str
    splits: Mapping[str, str]
    forms: tuple[str, ...]
    metrics: tuple[str, ...]
    left_out: tuple[str, ...]


def refuse_name(method: str) -> None:
    """Raise if external predictions cannot have this name, or if it is that of a method or a group of them."""
    if not NAME.fullmatch(method):
        raise UserError(
            f"The name {method!r:.80} of a method cannot be taken: give letters, digits and . _ = + -, beginning with "
            "a letter or digit, at most 60 in all."
        )
    if method in METHODS.names():
        raise UserError(f"{method!r} is a method that this suite trains itself; take another name, as my-{method}.")
    if method in {ALL, *METHODS.groups()}:
        raise UserError(f"{method!r} is a group of methods; take another name, as my-{method}.")


def from_files(target: Target, place: Path, splits: Sequence[int] | None) -> dict[int, tuple[str, Arrays]]:
    """Index of a split -> the name of its file and the arrays in it.

    Raises:
        UserError: a file is missing, damaged, or of another layout.
    """
    classes = target.task.data(target.root).classes
    paths = files_of(place, target.rule, len(target.task.splits(target.rule, target.root)), splits)
    return {index: (path.name, read(path, classes)) for index, path in paths.items()}


def score_external(
    target: Target,
    predictions: Mapping[int, tuple[str, Arrays]],
    declared: Declared,
    db: str | os.PathLike[str],
    artifacts: str | os.PathLike[str] | None = None,
    *,
    force: bool = False,
) -> Scored:
    """Score predictions and store them; those that stand there already stay as they are.

    Args:
        predictions: index of each split -> how its predictions are called in a sentence, and their arrays.
        force: replace others that stand there of the same splits.

    Raises:
        UserError: predictions that cannot be scored, or others of the same name in the database; nothing is stored.
    """
    refuse_name(declared.method)
    refuse_kind(target.task.name, target.task.kind)
    every = target.task.splits(target.rule, target.root)
    tests = {names.split(target.rule, index): split.test for index, split in enumerate(every)}
    found = {i: given(_wanted(target, i, what, tests), arrays) for i, (what, arrays) in predictions.items()}
    outcomes = [_outcome(target, index, own, declared) for index, own in found.items()]
    metrics = dict.fromkeys(s.metric for outcome in outcomes for e in outcome.evaluations for s in e.scores)
    asked = [m.name for m in METRICS if target.task.kind in m.kinds and set(m.needs) <= {"y"}]
    with ResultStore(db, artifacts=artifacts) as store:
        became = _record(store, target, declared, outcomes, force=force)
    return Scored(
        task=target.task.name,
        method=declared.method,
        rule=target.rule,
        budget=declared.budget,
        splits=became,
        forms=tuple(dict.fromkeys(own.form.name for own in found.values())),
        metrics=tuple(metrics),
        left_out=tuple(name for name in asked if name not in metrics),
    )


def _wanted(target: Target, index: int, what: str, tests: Mapping[str, np.ndarray]) -> Wanted:
    own, data = target.task.splits(target.rule, target.root)[index], target.task.data(target.root)
    split = names.split(target.rule, index)
    others = {"its training rows": own.train, "its validation rows": own.validation}
    others |= {f"the test rows of {name}": rows for name, rows in tests.items() if name != split}
    return Wanted(what, split, target.task.kind, data.classes, own.test, others)


def _outcome(target: Target, index: int, own: Given, declared: Declared) -> Outcome:
    """One split, scored as a trained cell is on its test rows."""
    task, data = target.task, target.task.data(target.root)
    test = task.splits(target.rule, target.root)[index].test
    y = torch.as_tensor(data.y[test])
    key = random.key_of("score", task.name, target.rule, index, SEED, names.TEST)
    scores = score(own.predictive, y, key, task.kind, chains=own.chains)
    curves = calibration_data(own.predictive, y)
    blocks = block_scores(target, own.predictive, y, None, scores)
    curves |= {"blocks": blocks} if blocks else {}
    arrays = to_arrays(names.TEST, own.predictive, data.y[test])
    return Outcome(
        cell=CellRecord(
            task=task.name,
            task_version=task.versioned(target.root),
            method=declared.method,
            method_version=VERSION,
            config=canonical({}),
            label=names.DEFAULT,
            rule=target.rule,
            index=index,
            seed=SEED,
            budget=declared.budget,
            origin=Origin.EXTERNAL.value,
        ),
        status=Status.OK,
        gradients=declared.gradients,
        evaluations=(EvaluationRecord(names.TEST, len(test), tuple(scores), curves),),
        artifacts={"predictive": arrays},
        source=_checksum(arrays, own.chains),
    )


def _checksum(arrays: Arrays, chains: int | None) -> str:
    """sha256 over what is scored, whatever file it came in."""
    sha = hashlib.sha256(json.dumps(chains).encode())
    for name, array in sorted(arrays.items()):
        values = np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("<"))
        sha.update(json.dumps([name, values.dtype.str, values.shape]).encode())
        sha.update(values.tobytes())
    return sha.hexdigest()


def _record(
    store: ResultStore, target: Target, declared: Declared, outcomes: Sequence[Outcome], *, force: bool
) -> dict[str, str]:
    """Store what is new or, if forced, other than before; returns what became of each split."""
    stored = store.attempts(method=declared.method, latest_only=False)
    if set(stored["origin"]) - {Origin.EXTERNAL.value}:
        raise UserError(f"{store.address} holds cells of {declared.method!r} that were trained; take another name.")
    sources = dict(zip(stored["fingerprint"], stored["source"], strict=True))
    became, kept = {}, []
    for outcome in outcomes:
        before = sources.get(outcome.cell.fingerprint)
        if before == outcome.source and not force:
            became[outcome.cell.split] = "unchanged"
            continue
        if before is not None and not force:
            raise UserError(
                f"{store.address} holds other predictions of {declared.method!r} on {target.task.name} "
                f"{outcome.cell.split}; replace them by --force, or take another name."
            )
        became[outcome.cell.split] = "scored" if before is None else "replaced"
        kept.append(outcome)
    if kept:
        store.register([_method(store, declared)], [task_record(target.task, target.root)], metric_records())
        session = session_record(torch.device("cpu"), command(), torch.get_num_threads())
        store.record(store.start_session(session), kept, force=force)
    return became


def _method(store: ResultStore, declared: Declared) -> MethodRecord:
    """The definition of the method, with the citation that an earlier call gave where this one gives none."""
    known = {row["name"]: row["citation"] for row in store.methods().to_dict("records")}
    record = MethodRecord(declared.method, VERSION, declared.citation, (TAG,), len(METHODS.names()))
    return record if declared.citation else replace(record, citation=known.get(declared.method, ""))
