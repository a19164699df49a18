"""Registries: names -> methods, tasks, metrics.

A registry is filled by importing the modules of one package of bnnbench and by the entry points that other
installed packages declare in its group, so a user's method or task stands beside ours without any edit here.
"""

from __future__ import annotations

import difflib
import importlib
import pkgutil
from collections.abc import Callable, Iterable, Iterator
from importlib.metadata import entry_points
from typing import Any, Generic, TypeVar

from bnnbench.errors import UserError

T = TypeVar("T")
E = TypeVar("E")


def nearest(name: str, choices: Iterable[str]) -> str:
    """A clause `; did you mean ...?` with the names nearest to `name`, else the list of all choices."""
    choices = sorted(choices)
    close = difflib.get_close_matches(name, choices, n=3, cutoff=0.5)
    return f"; did you mean {', '.join(close)}?" if close else f"; choose from {', '.join(choices)}."


class Registry(Generic[T]):
    """Ordered map from a name to a method, task or metric.

    Args:
        noun: what is registered, in error messages.
        package: the package whose modules are imported to fill the registry.
        group: entry point group of other packages' contributions.
        groups_of: maps an entry to the group names it belongs to (`--task uci`).
    """

    def __init__(self, noun: str, package: str, group: str, groups_of: Callable[[T], Iterable[str]]) -> None:
        self.noun, self.package, self.group, self._groups_of = noun, package, group, groups_of
        self._entries: dict[str, T] = {}
        self._complete = False

    def register(self, entry: E) -> E:
        """Add an entry under its `name`; usable as a class decorator. A name taken by another entry raises."""
        name = entry.name  # type: ignore[attr-defined]
        known = self._entries.get(name)
        if known is not None and known is not entry:
            raise UserError(f"The {self.noun} name {name!r} is registered twice; rename one of the two.")
        self._entries[name] = entry  # type: ignore[assignment]
        return entry

    def discover(self) -> None:
        """Import our own modules and the entry points, once."""
        if self._complete:
            return
        self._complete = True
        package = importlib.import_module(self.package)
        for module in pkgutil.iter_modules(package.__path__):
            importlib.import_module(f"{self.package}.{module.name}")
        for point in entry_points(group=self.group):
            try:
                entry: Any = point.load()
            except Exception as error:
                raise UserError(
                    f"The installed package behind {self.noun} {point.name!r} ({point.value}) cannot be imported "
                    f"({type(error).__name__}: {error}); mend or uninstall it."
                ) from error
            self.register(entry)

    def __iter__(self) -> Iterator[T]:
        self.discover()
        return iter(self._entries.values())

    def names(self) -> list[str]:
        """All names, in order of registration."""
        return [entry.name for entry in self]  # type: ignore[attr-defined]

    def groups(self) -> dict[str, list[str]]:
        """Group name -> names of its members."""
        groups: dict[str, list[str]] = {}
        for entry in self:
            for group in self._groups_of(entry):
                groups.setdefault(group, []).append(entry.name)  # type: ignore[attr-defined]
        return groups

    def get(self, name: str) -> T:
        """The entry of this name.

        Raises:
            UserError: no such name; the sentence offers the nearest ones.
        """
        self.discover()
        if name not in self._entries:
            raise UserError(f"There is no {self.noun} {name!r}{nearest(name, [*self._entries, *self.groups()])}")
        return self._entries[name]

    def select(self, names: Iterable[str]) -> list[T]:
        """Entries behind a list of names and groups, without repetition, in order of registration."""
        groups, wanted = self.groups(), set()
        for name in names:
            wanted.update(groups[name] if name in groups else [self.get(name).name])  # type: ignore[attr-defined]
        return [entry for entry in self if entry.name in wanted]  # type: ignore[attr-defined]
