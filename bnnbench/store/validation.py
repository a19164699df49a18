"""Whether a submission is right: what it says of itself agrees, and with what is installed here."""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from safetensors.numpy import load

from bnnbench import names
from bnnbench.records import SCORED, CellRecord, MetricRecord, Purpose, Status
from bnnbench.store.submission import KIND, checksum
from bnnbench.store.submission_file import Damaged, Submission

MOST_SHOWN = 1000  # faults
NAME = re.compile(r"[^\W_][\w.=+-]{0,99}")  # of a method, task, split rule, budget, evaluation or metric
LARGEST_SPLIT = 10_000
Arrays = Mapping[str, np.ndarray]
Row = Mapping[str, Any]


@dataclass(frozen=True)
class Installed:
    """What this bnnbench knows.

    Attributes:
        methods: name -> version. metrics: name -> definition.
        task_version: name -> version, with the checksum of the data where these are here; None of an unknown task.
        splits: identity of a cell -> how many splits it is to have, None where that is not known.
        rescored: identity, arrays of the predictive -> (evaluation, metric) -> score that follows from them.
    """

    methods: Mapping[str, int]
    task_version: Callable[[str], str | None]
    metrics: Mapping[str, MetricRecord]
    splits: Callable[[CellRecord], int | None]
    rescored: Callable[[CellRecord, Arrays], Mapping[tuple[str, str], float]]


def faults(submission: Submission, installed: Installed) -> list[str]:
    """All that is wrong with a file, a sentence each, `MOST_SHOWN` at most; nothing of a valid one."""
    found = []
    for fault in _faults(submission, installed):
        found.append(fault)
        if len(found) == MOST_SHOWN:
            return [*found, "There is more; these are the first faults."]
    return found


_SAME = ("task", "task_version", "method", "method_version", "config", "label", "rule", "seed", "budget", "purpose")


def record_of(cell: Row) -> CellRecord:
    """The identity of a cell."""
    same = {name: cell[name] for name in _SAME}
    return CellRecord(**same, index=cell["split_index"])


def _faults(submission: Submission, installed: Installed) -> Iterator[str]:
    content = submission.content
    if not content["cells"]:
        yield "It holds no cell."
    if checksum(content) != content["sha256"]:
        yield "Its own checksum differs: something has changed it since it was written."
    yield from _definition_faults(content, installed)
    for fingerprint, count in Counter(cell["fingerprint"] for cell in content["cells"]).items():
        if count > 1:
            yield f"The cell {fingerprint[:12]} stands {count} times in it."
    known = {metric["name"]: metric for metric in content["metrics"]}
    for cell in content["cells"]:
        where = _place(cell)
        yield from (f"{where} {fault}." for fault in _cell_faults(cell, content, known))
    yield from _incomplete(content, installed)
    yield from _artifact_faults(submission, installed)


def _definition_faults(content: Row, installed: Installed) -> Iterator[str]:
    for what in ("method", "task", "metric"):
        own = [(row["name"], row.get("version")) for row in content[f"{what}s"]]
        for (name, version), count in Counter(own).items():
            if not NAME.fullmatch(name):
                yield f"The {what} {name[:60]!r} has no name that bnnbench takes."
            if count > 1:
                yield f"The {what} {name} {version or ''} is defined twice."
    for what, here in (("method", installed.methods.get), ("task", installed.task_version)):
        for row in content[f"{what}s"]:
            version = here(row["name"])
            if version is not None and not _agrees(row["version"], version):
                yield (
                    f"The {what} {row['name']} is of version {row['version']}, and {version} is installed here: "
                    "they stand in no table together."
                )
    for row in content["metrics"]:
        metric = installed.metrics.get(row["name"])
        if metric is None:
            yield f"The metric {row['name']} is not known here; install the package that defines it."
        elif metric.better != row["better"]:
            yield f"The metric {row['name']} is better {_way(row['better'])} in it, and {_way(metric.better)} here."


def _agrees(version: Any, here: Any) -> bool:
    """The data's checksum counts where the data are here."""
    return version == here or ("+" not in str(here) and str(version).partition("+")[0] == str(here))


def _way(better: int) -> str:
    return {1: "if higher", -1: "if lower"}.get(better, "neither way")


def _cell_faults(cell: Row, content: Row, metrics: Mapping[str, Row]) -> Iterator[str]:
    record = record_of(cell)
    if cell["purpose"] not in (Purpose.RESULT, Purpose.TUNED):
        yield f"has the purpose {cell['purpose'][:60]!r}, and is no result"
    if record.fingerprint != cell["fingerprint"]:
        yield f"has the fingerprint {cell['fingerprint'][:12]}, and its identity gives {record.fingerprint[:12]}"
    for what in ("task", "method"):
        versions = [row["version"] for row in content[f"{what}s"] if row["name"] == cell[what]]
        if cell[f"{what}_version"] not in versions:
            yield f"is of {cell[what][:60]} {cell[f'{what}_version']}, which the file does not define"
    for name in ("rule", "budget"):
        if not NAME.fullmatch(cell[name]):
            yield f"has the {name} {cell[name][:60]!r}, which is no name"
    if not 0 <= cell["split_index"] < LARGEST_SPLIT or cell["seed"] < 0:
        yield f"is of split {cell['split_index']} and seed {cell['seed']}, of which there is none"
    if not _is_object(cell["config"]):
        yield "has a configuration that is no JSON object"
    if not 0 <= cell["session"] < len(content["sessions"]):
        yield f"refers to session {cell['session']}, which the file does not hold"
    if cell["status"] not in set(Status):
        yield f"has the status {cell['status'][:40]!r}, which is none"
    elif (cell["status"] in SCORED) != bool(cell["evaluations"]):
        yield f"has the status {cell['status']} and {len(cell['evaluations'])} evaluations"
    for name in ("steps", "gradients", "wall_s", "peak_memory_mb", "parameters"):
        if not (math.isfinite(cell[name]) and cell[name] >= 0):
            yield f"has {cell[name]} as {name}"
    for name, count in Counter(evaluation["name"] for evaluation in cell["evaluations"]).items():
        if not NAME.fullmatch(name) or count > 1:
            yield f"has {count} evaluations of the name {name[:60]!r}"
    for evaluation in cell["evaluations"]:
        yield from _score_faults(evaluation, metrics)


def _score_faults(evaluation: Row, metrics: Mapping[str, Row]) -> Iterator[str]:
    where = f"of {evaluation['name'][:60]}"
    if evaluation["n"] < 1:
        yield f"has an evaluation {where} over {evaluation['n']} points"
    if not evaluation["scores"]:
        yield f"has no score {where}"
    for name, (value, stderr) in evaluation["scores"].items():
        if name not in metrics:
            yield f"has a score {name[:60]!r} {where}, a metric that the file does not define"
        if isinstance(value, str) or not math.isfinite(value):
            yield f"has {value} as {name[:60]} {where}, which is not finite"
        if stderr is not None and not (math.isfinite(stderr) and stderr >= 0):
            yield f"has {stderr} as the standard error of {name[:60]} {where}"


def _is_object(text: str) -> bool:
    try:
        return isinstance(json.loads(text), dict)
    except (ValueError, RecursionError):
        return False


def _incomplete(content: Row, installed: Installed) -> Iterator[str]:
    """Cells of one configuration that lack splits, or have one that there is not."""
    groups: dict[tuple, tuple[Row, set[int]]] = {}
    for cell in content["cells"]:
        what = "config" if cell["purpose"] == Purpose.RESULT else "label"  # which trials chose for each split
        key = tuple(cell[name] for name in ("task", "task_version", "method", "method_version", what, "rule", "seed",
                                            "budget", "purpose"))  # fmt: skip
        _, done = groups.setdefault(key, (cell, set()))
        done |= {cell["split_index"]} if cell["status"] != Status.FAILED.value else set()
    for cell, done in groups.values():
        count = installed.splits(record_of(cell)) or content["splits"].get(f"{cell['task']} {cell['rule']}")
        what = f"{_row(cell)} on {cell['task']} (seed {cell['seed']}, {cell['budget']})"
        if count is None:
            yield f"How many splits {cell['rule']} of {cell['task']} has is not known here, nor does the file say it."
            continue
        if lacking := sorted(set(range(min(count, LARGEST_SPLIT))) - done):
            shown = ", ".join(map(str, lacking[:10])) + " ..." * (len(lacking) > 10)
            yield f"{what} lacks {len(lacking)} of the {count} splits of {cell['rule']}: {shown}."
        if beyond := sorted(index for index in done if index >= count):
            yield f"{what} has split {beyond[0]}, and {cell['rule']} has {count} splits only."


def _artifact_faults(submission: Submission, installed: Installed) -> Iterator[str]:
    named = {cell["artifacts"].get(KIND): cell for cell in submission.content["cells"]}
    for digest in sorted(submission.artifacts):
        cell = named.get(digest)
        if cell is None:
            yield f"It holds the predictive {digest[:12]}, which no cell names."
            continue
        try:
            data = submission.artifact(digest)
        except Damaged as error:
            yield str(error)
            continue
        if hashlib.sha256(data).hexdigest() != digest:
            yield f"The predictive {digest[:12]} of {_place(cell)} is not what was written: its checksum differs."
            continue
        yield from _contradictions(cell, data, installed)
    if submission.artifacts:
        lacking = [cell for digest, cell in named.items() if digest is not None and digest not in submission.artifacts]
        yield from (f"The predictive of {_place(cell)} is not in the file." for cell in lacking)


def _contradictions(cell: Row, data: bytes, installed: Installed) -> Iterator[str]:
    """Scores that do not follow from the predictive."""
    try:
        arrays = load(data)
        scores = installed.rescored(record_of(cell), arrays)
    except Exception as error:  # whatever arrays of a wrong form bring about
        reason = (str(error) or type(error).__name__).splitlines()[0]
        yield f"The predictive of {_place(cell)} cannot be scored ({reason:.120})."
        return
    stated = {evaluation["name"]: evaluation["scores"] for evaluation in cell["evaluations"]}
    for (evaluation, metric), value in scores.items():
        said = stated.get(evaluation, {}).get(metric, (None, None))[0]
        if isinstance(said, (int, float)) and not math.isclose(said, value, rel_tol=1e-5, abs_tol=1e-6):
            yield (
                f"{_place(cell)} has {said:.6g} as {metric} of {evaluation}, and its own predictive gives {value:.6g}."
            )


def _row(cell: Row) -> str:
    label = "" if cell["label"] == names.DEFAULT else f" [{cell['label'][:60]}]"
    return f"{cell['method'][:60]}{label}"


def _place(cell: Row) -> str:
    split = names.split(cell["rule"][:60], cell["split_index"])
    return f"{_row(cell)} on {cell['task'][:60]} {split} (seed {cell['seed']}, cell {cell['fingerprint'][:12]})"
