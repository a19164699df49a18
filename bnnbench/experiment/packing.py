"""Which cells of a plan train together."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import torch

from bnnbench.engine.cell import Cell, structure
from bnnbench.engine.pack import pack_limit
from bnnbench.engine.size import device_memory

MEMORY_SHARE = 0.25  # of the device's memory, for one pack


def packs(cells: Sequence[Cell], limits: Mapping[tuple, int]) -> list[list[Cell]]:
    """Cells of equal structure together, at most `limits[structure]` each, in the order of the plan.

    Packs are formed from the whole plan and filtered afterwards, so that a resumed run repeats them.
    """
    groups: dict[tuple, list[Cell]] = {}
    for cell in cells:
        groups.setdefault(structure(cell), []).append(cell)
    return [
        group[start : start + limits[kind]]
        for kind, group in groups.items()
        for start in range(0, len(group), limits[kind])
    ]


def all_packs(cells: Sequence[Cell], device: torch.device) -> list[list[Cell]]:
    """Packs of the whole plan, as large as memory allows."""
    limits: dict[tuple, int] = {}
    for cell in cells:
        if (kind := structure(cell)) not in limits:
            limits[kind] = _limit(cell, device)
    return packs(cells, limits)


def restricted(packs: Sequence[Sequence[Cell]], cells: Collection[Cell]) -> list[list[Cell]]:
    """The packs with these cells alone."""
    among = set(cells)
    left = ([cell for cell in pack if cell in among] for pack in packs)
    return [pack for pack in left if pack]


def _limit(cell: Cell, device: torch.device) -> int:
    try:
        return pack_limit(cell, _memory(device), device)
    except Exception:  # what cannot be sized says why when it is trained
        return 1


def _memory(device: torch.device) -> int:
    if device.type == "cuda":
        return int(MEMORY_SHARE * device_memory(device))
    return 2 * 2**30  # a fixed share: packs, hence numbers, must not depend on what else runs on a machine
