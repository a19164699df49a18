"""Transferred attacks: images attacked through the deep ensemble, scored by every other method.

A method that errs less under its own attack than under this one hides its gradients rather than resists
(Athalye et al. 2018, arXiv 1802.00420): that is how a report tells that gradients are masked.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import torch

from bnnbench import names, random
from bnnbench.engine.cell import Cell, default
from bnnbench.engine.compile import is_compiled
from bnnbench.errors import UserError, told
from bnnbench.evaluation.evaluate import record
from bnnbench.evaluation.evaluator import Evaluator, TestSets, sets_of
from bnnbench.experiment.rescore import restored
from bnnbench.methods import METHODS
from bnnbench.records import EvaluationRecord
from bnnbench.store.store import ResultStore
from bnnbench.tasks import TestSet

SOURCE = "ensemble-deep"
ATTACKS = (names.attack("fgsm", 0.1), names.attack("fgsm", 0.3), names.attack("pgd", 0.1))


@dataclass(frozen=True)
class Transfer:
    """The ensemble whose gradients attack, and the cells that lack its attacks, by name."""

    source: Cell
    attacks: dict[Cell, list[str]] = field(default_factory=dict)

    def __str__(self) -> str:
        cell = self.source
        return f"{cell.task.name} {cell.rule}: attacks transferred to {len(self.attacks)} cells"


def transfers_missing(store: ResultStore, cells: Sequence[Cell]) -> list[Transfer]:
    """Attacked cells that lack transferred attacks which a stored ensemble can give; exhaustive ones where there are
    no others."""
    attacked = [cell for cell in cells if cell.test_sets and cell.method.name != SOURCE]
    done = store.evaluated(cell.record.fingerprint for cell in attacked)
    found: dict[Cell, Transfer] = {}
    for cell in attacked:
        has = done.get(cell.record.fingerprint, set())
        attacks = [name if name in has else name + names.EXHAUSTIVE for name in ATTACKS]
        if lacking := [name for name in attacks if name in has and names.transferred(name) not in has]:
            source = source_of(cell)
            found.setdefault(source, Transfer(source)).attacks[cell] = lacking
    there = store.stored((source.record.fingerprint for source in found), "posterior")
    return [piece for piece in found.values() if piece.source.record.fingerprint in there]


def source_of(cell: Cell) -> Cell:
    """The deep ensemble of the same task, split, seed and budget, with the test sets that can be transferred."""
    families = tuple(family + end for family in ("fgsm", "pgd") for end in ("", names.EXHAUSTIVE))
    return replace(cell, method=default(METHODS.get(SOURCE), cell.task), test_sets=families)


def transfer(store: ResultStore, piece: Transfer, device: torch.device) -> tuple[int, list[str]]:
    """Attack through the ensemble, and add each cell's scores on the images."""
    added, faults = 0, []
    try:
        attacker = restored(store, piece.source, device)
    except UserError as error:  # damaged, of another version, or gone in the meantime
        return 0, [str(error)]
    with random.compiled_kernels(is_compiled(piece.source, device)):
        attacks = _attacked(attacker, {name for lacking in piece.attacks.values() for name in lacking})
        for cell, lacking in piece.attacks.items():
            try:
                target = restored(store, cell, device)
                scored = [_scored(target, name, attacks[name]) for name in sorted(lacking)]
            except UserError as error:
                faults.append(str(error))
            except Exception as error:  # what fails on one method takes nothing from the others
                reason = told(error)
                faults.append(f"{cell.task.name} {cell.method.name}: attacks cannot be transferred ({reason}).")
            else:
                added += bool(store.add_evaluations(cell.record.fingerprint, scored))
    return added, faults


def _attacked(attacker: Evaluator, wanted: set[str]) -> TestSets:
    """The test sets of these names, with images attacked through the ensemble."""
    (sets,) = sets_of(attacker.pack, shifted=True)
    return {name: _attacked_set(attacker, sets[name]) for name in wanted}


def _attacked_set(attacker: Evaluator, test_set: TestSet) -> TestSet:
    return test_set._replace(x=attacker.adversarial([test_set])[0].cpu().numpy(), attack=None)


def _scored(target: Evaluator, name: str, test_set: TestSet) -> EvaluationRecord:
    (predictive,) = target.predictions([test_set.x], test_set.samples)
    return record(target, 0, names.transferred(name), predictive, test_set)
