"""Colours of methods: one hue a family, one shade a member, whatever else a figure shows.

Families follow from the tags that the database holds. Shades of neighbours differ in lightness, which colour-blind
readers see too; families of like appearance to them differ in their markers.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from seaborn.external import husl

from bnnbench.reporting.statistics import Frame

LIGHTNESS = (46.0, 67.0, 31.0, 56.0, 76.0)  # of the members in turn: the first ones differ most
PALER = 0.6  # saturation of the members that take the same lightness again


@dataclass(frozen=True)
class Family:
    """Methods of one kind: a tag of theirs, their title in figures, hue in degrees and saturation in per cent."""

    tag: str
    title: str
    hue: float
    saturation: float


OTHERS = Family("", "Others", 0.0, 0.0)  # grey: methods without a known tag
FAMILIES = (  # a method belongs to the first that it is tagged with
    Family("full-batch", "Full-batch sampling", 345.0, 70.0),
    Family("references", "References", 200.0, 85.0),
    Family("multiplicative", "Multiplicative", 310.0, 80.0),
    Family("variational", "Variational", 250.0, 90.0),
    Family("laplace", "Laplace", 8.0, 90.0),
    Family("sampling", "Sampling", 150.0, 95.0),
    Family("ensembles", "Ensembles", 35.0, 95.0),
    Family("dropout", "Dropout", 85.0, 95.0),
    Family("flow", "Flows", 275.0, 90.0),
    Family("baseline", "Baselines", 60.0, 65.0),
    Family("optimisation", "Baselines", 60.0, 65.0),
    OTHERS,
)


def family(tags: Iterable[str] | None) -> Family:
    """Of a method with these tags."""
    known = set(tags or ())
    return next((found for found in FAMILIES if found.tag in known), OTHERS)


@dataclass(frozen=True)
class Member:
    """A method's family and its place in it, by the order of registration."""

    family: Family
    place: int

    @property
    def color(self) -> str:
        """Its shade, as hex digits."""
        turn, step = divmod(self.place, len(LIGHTNESS))
        return husl.husl_to_hex(self.family.hue, self.family.saturation * PALER**turn, LIGHTNESS[step])


def members(methods: Frame) -> dict[str, Member]:
    """Every registered method, by name; one that implements another is of that one's family."""
    counts: dict[str, int] = {}
    found: dict[str, Member] = {}
    for _, record in methods.sort_values(["order", "name"]).drop_duplicates("name", keep="last").iterrows():
        same = found.get(str(record.get("implements", "")))
        own = same.family if same else family(record["tags"])
        found[str(record["name"])] = Member(own, counts.get(own.title, 0))
        counts[own.title] = counts.get(own.title, 0) + 1
    return found
