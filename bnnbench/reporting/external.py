"""Methods whose predictions were made elsewhere: shown beside those that were trained here, and said to be."""

from __future__ import annotations

from collections.abc import Iterable

from bnnbench.records import Origin
from bnnbench.reporting.statistics import Frame

EXTERNAL = "◇"
SENTENCE = f"{EXTERNAL}: predictions that were made elsewhere and scored here; nobody here saw them made"


def external(cells: Frame) -> frozenset[str]:
    """Names of the methods of external cells."""
    return frozenset(cells.loc[cells["origin"] == Origin.EXTERNAL.value, "method"])


def described(names: Iterable[str], methods: Frame, attempts: Frame) -> list[str]:
    """What is told of each of these methods, in their order: where it comes from, and what a cell cost."""
    known = methods.drop_duplicates("name").set_index("name")["citation"]
    cost = attempts.groupby("method")["gradients"].max()
    found = []
    for name in sorted(names):
        told = [str(known.get(name, "")) or "no citation given"]
        told += [f"{cost[name]:,} gradients a cell"] if cost.get(name, 0) else []
        found.append(f"{name} ({', '.join(told)})")
    return found


def marked(name: str, methods: Iterable[str]) -> str:
    """A row's name, with the sign where it is that of one of these methods."""
    return name + EXTERNAL if name.partition(" ")[0] in methods else name
