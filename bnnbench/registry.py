"""Registries: names -> methods, tasks, metrics.

A registry is filled by importing the modules of one package of bnnbench and by the entry points that other
installed packages declare in its group, so a user's method or task stands beside ours without any edit here. An entry
point that cannot be taken, whatever is wrong with it, is left out with a warning.
"""

from __future__ import annotations

import copy
import difflib
import functools
import importlib
import pkgutil
import sys
import warnings
from collections.abc import Callable, Collection, Iterable, Iterator
from importlib.metadata import EntryPoint, distributions
from typing import Any, Generic, TypeVar

from bnnbench.errors import UserError, told

ALL = "all"  # what a command line takes for everything
LONGEST = 100  # characters of a name
T = TypeVar("T")
E = TypeVar("E")


class PluginWarning(UserWarning):
    """Something of another installed package is left out; the command line shows it as a sentence."""


def nearest(name: str, choices: Iterable[str]) -> str:
    """A clause `; did you mean ...?` with the names nearest to `name`, else the list of all choices."""
    choices = sorted(choices)
    close = difflib.get_close_matches(name, choices, n=3, cutoff=0.5)
    return f"; did you mean {', '.join(close)}?" if close else f"; choose from {', '.join(choices)}."


def _module_level_caller() -> str:
    """Name of the module whose import led here: users may register theirs before all of ours are in."""
    frame = sys._getframe(1)
    while frame.f_code.co_name != "<module>" and frame.f_back is not None:
        frame = frame.f_back
    return frame.f_globals.get("__name__", "")


class Registry(Generic[T]):
    """Ordered map from a name to a method, task or metric.

    Args:
        noun: what is registered, in error messages.
        packages: the packages whose modules are imported to fill the registry, in this order, with commas.
        group: entry point group of other packages' contributions.
        groups_of: maps an entry to the group names it belongs to (`--task uci`).
        fault: says what is wrong with an entry, nothing if it may be registered.
        shared: groups of ours that entries of other packages may belong to.
    """

    def __init__(
        self,
        noun: str,
        packages: str,
        group: str,
        groups_of: Callable[[T], Iterable[str]],
        fault: Callable[[Any], str] = lambda entry: "",
        shared: Collection[str] = (),
    ) -> None:
        self.noun, self.packages, self.group, self._groups_of = noun, packages.split(","), group, groups_of
        self._fault, self._shared = fault, frozenset(shared)
        self._entries: dict[str, T] = {}
        self._ours: frozenset[str] = frozenset()  # our names and groups, once they are all known
        self._own_names: frozenset[str] = frozenset()
        self._complete = False

    def register(self, entry: E) -> E:
        """Add an entry under its `name`; usable as a class decorator.

        Raises:
            UserError: it is no such entry, or its name or a group of it is taken.
        """
        if fault := self._fault(entry) or self._clash(entry):
            name = getattr(entry, "name", None)
            raise UserError(f"The {self.noun} {name if isinstance(name, str) else entry!r} is not registered: {fault}.")
        self._entries[entry.name] = entry  # type: ignore[attr-defined, assignment]
        if not self._complete and _module_level_caller().startswith(tuple(f"{package}." for package in self.packages)):
            self._own_names |= {entry.name}  # type: ignore[attr-defined]
        return entry

    def remove(self, name: str) -> None:
        """Take out an entry, as before another of its name is registered in a notebook.

        Raises:
            UserError: there is none.
        """
        self.get(name)
        del self._entries[name]

    def extended(self, entries: Iterable[T]) -> Registry[T]:
        """A registry of these entries too, which leaves this one as it is; one whose name is taken is left out with a
        warning."""
        self.discover()
        found = copy.copy(self)
        found._entries = dict(self._entries)
        for entry in entries:
            try:
                found._entries[self.admitted(entry).name] = entry  # type: ignore[attr-defined]
            except UserError as error:
                warn(str(error))
        return found

    def admitted(self, entry: E) -> E:
        """The entry, registered or not, if it can stand beside those that are.

        Raises:
            UserError: it is no such entry, or its name is taken.
        """
        self.discover()
        name, fault = getattr(entry, "name", None), self._fault(entry) or self._unnameable(entry)
        if not fault and self._entries.get(name, entry) is not entry:  # type: ignore[arg-type, call-overload]
            fault = f"another {self.noun} of this name is registered; rename it"
        if not fault and name in self.groups():
            fault = f"its name is that of a group of {self.noun}s; rename it"
        if fault:
            raise UserError(f"The {self.noun} {name if isinstance(name, str) else entry!r} cannot be taken: {fault}.")
        return entry

    def _unnameable(self, entry: Any) -> str:
        """What is wrong with the words of the entry's name and groups, nothing if all is well."""
        name, groups = getattr(entry, "name", ""), self._groups_of(entry)
        if not (isinstance(groups, tuple) and all(isinstance(word, str) and word for word in (name, *groups))):
            return "its name must be a string, and its groups a tuple of strings"
        if name == ALL or "," in name or name != name.strip() or len(name) > LONGEST or not name.isprintable():
            return f"no command line can name it; take 1 to {LONGEST} characters without commas, and not {ALL!r}"
        return ""

    def _clash(self, entry: Any) -> str:
        """What is wrong with the entry's name and groups among all others, nothing if all is well."""
        if fault := self._unnameable(entry):
            return fault
        name, groups = entry.name, self._groups_of(entry)
        if name in self._entries:
            return "" if self._entries[name] is entry else "its name is registered twice; rename one of the two"
        if name in self._ours - self._own_names:
            return f"{name!r} is a group of bnnbench's {self.noun}s; rename it"
        for group in groups:
            if group == ALL or group in self._ours - self._shared:
                kind = f"a {self.noun}" if group in self._own_names else f"a group of {self.noun}s"
                return f"it puts itself into {group!r}, which is {kind} of bnnbench; name another group"
        return ""

    def discover(self) -> None:
        """Import our own modules and the entry points, once."""
        if self._complete:
            return
        for name in self.packages:
            for module in pkgutil.iter_modules(importlib.import_module(name).__path__):
                importlib.import_module(f"{name}.{module.name}")
        self._complete = True  # before packages are loaded, which may look into the registry
        self._ours = self._own_names.union(*(self._groups_of(self._entries[name]) for name in self._own_names))
        for source, point in _entry_points(self.group):
            try:
                self.register(point.load())
            except KeyboardInterrupt:
                raise
            except BaseException as error:  # SystemExit too: a package that exits must not end other people's work
                reason = str(error).rstrip(".") if isinstance(error, UserError) else told(error)
                warn(f"The {self.noun} {point.name!r} ({point.value}) of the package {source} is left out: {reason}.")

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


@functools.cache
def warn(sentence: str) -> None:
    """Say what is left out of another package, once a process."""
    warnings.warn(sentence, PluginWarning, stacklevel=2)


def _entry_points(group: str) -> Iterator[tuple[str, EntryPoint]]:
    """(package, entry point) of a group, of all installed packages; one whose list is damaged is left out."""
    seen: set[str] = set()
    for package in distributions():
        try:
            points = package.entry_points.select(group=group)
            name = package.metadata["Name"] if points else ""
        except Exception as error:
            warn(f"The entry points of {package} cannot be read ({type(error).__name__}: {error}); install it again.")
            continue
        if name not in seen:  # Python imports the first of two packages of one name
            yield from ((name, point) for point in points)
        seen.add(name)
