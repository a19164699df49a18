"""Results of methods and tasks of which the reader's installation has a newer version: shown, and said to be old."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from bnnbench.reporting.external import EXTERNAL
from bnnbench.reporting.statistics import Frame
from bnnbench.reporting.tables.text import OLD

Installed = Mapping[str, Mapping[str, int]]  # `method` and `task` -> name -> version
KINDS = {"method": "methods", "task": "tasks"}


@dataclass(frozen=True)
class Superseded:
    """By kind and name, the version of the results shown and the newer one that is installed."""

    versions: Mapping[str, Mapping[str, tuple[int, int]]]

    @property
    def names(self) -> frozenset[str]:
        """All of them."""
        return frozenset(name for own in self.versions.values() for name in own)

    def __str__(self) -> str:
        """`methods sgld (2, now 3); tasks energy (1, now 2)`."""
        return "; ".join(
            f"{KINDS[kind]} " + ", ".join(f"{name} ({old}, now {new})" for name, (old, new) in own.items())
            for kind, own in self.versions.items()
            if own
        )

    def marked(self, name: str) -> str:
        """A row's or a column's name, `sgld [lr=0.01]` and `energy 10fold-0` too."""
        return name + OLD if name.partition(" ")[0].removesuffix(EXTERNAL) in self.names else name


def superseded(shown: Sequence[Frame], installed: Installed | None) -> Superseded:
    """What of the scores shown is older than what is installed; nothing where that is not known."""
    found: dict[str, dict[str, tuple[int, int]]] = {kind: {} for kind in KINDS}
    for kind in KINDS if installed else ():
        for scores in shown:
            versions = scores[[kind, f"{kind}_version"]].drop_duplicates()
            for name, version in versions.itertuples(index=False):
                new, old = installed[kind].get(name), _number(version)  # type: ignore[index]
                if new is not None and old is not None and old < new:
                    found[kind][str(name)] = old, new
    return Superseded(found)


def _number(version: object) -> int | None:
    """2 of `2+sha256:...`, the version of a task with the checksum of its data."""
    text = str(version).partition("+")[0]
    return int(text) if text.isdecimal() else None
