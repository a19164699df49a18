"""What the registries and the command line give to the pages of the reference: a hook of mkdocs."""

from __future__ import annotations

import dataclasses
import inspect
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import click
import numpy as np

from bnnbench.cli import main
from bnnbench.cli.results import listings
from bnnbench.methods import METHODS, Method
from bnnbench.tasks import TASKS
from bnnbench.tasks.sets import TestSet

PLACE = re.compile(r"^\{\{ ([\w-]+) \}\}$", re.MULTILINE)


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Called by mkdocs for each page: a line `{{ tasks }}` becomes the table of tasks, and so on."""
    return PLACE.sub(lambda place: GENERATED[place[1]](), markdown)


def commands(group: click.Group = main, path: str = "bnnbench") -> Iterator[tuple[str, click.Command]]:
    """(name, command) of everything that can be called, the group itself first."""
    yield path, group
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from commands(command, f"{path} {name}")
        else:
            yield f"{path} {name}", command


def purpose_and_examples(command: click.Command) -> tuple[str, list[str]]:
    """The help text without its examples, and the examples."""
    parts = inspect.cleandoc(command.help or "").replace("\b\n", "").split("\n\n")
    text = " ".join(" ".join(part.split()) for part in parts if not part.startswith("Example"))
    lines = [line.strip() for part in parts if part.startswith("Example") for line in part.splitlines()[1:]]
    return text, lines


def all_commands() -> str:
    called = (one_command(name, c) for name, c in commands() if not isinstance(c, click.Group))
    return "\n\n".join(called)


def one_command(name: str, command: click.Command) -> str:
    """One command: call, purpose, examples, options."""
    words, rows = [name], []
    for param in command.params:
        if isinstance(param, click.Argument):
            choices = "|".join(param.type.choices) if isinstance(param.type, click.Choice) else param.name.upper()
            words.append(choices + ("..." if param.nargs < 0 else ""))
        elif isinstance(param, click.Option) and not param.hidden:
            default = f" (default `{param.default}`)" if param.show_default else ""
            metavar = f" {param.metavar}" if param.metavar else ""
            rows.append((f"`{', '.join(param.opts)}{metavar}`", f"{param.help}{default}"))
    text, examples = purpose_and_examples(command)
    parts = [f"## `{' '.join(words)}`", text, "```bash\n" + "\n".join(examples) + "\n```"]
    return "\n\n".join([*parts, table(["option", "meaning"], rows)] if rows else parts)


def each_method() -> str:
    """One section for each file of methods: its docstring, then its methods with their hyperparameters."""
    modules: dict[str, list[type[Method]]] = {}
    for method in METHODS:
        modules.setdefault(method.__module__, []).append(method)
    parts = []
    for module, methods in modules.items():
        alone = len(methods) == 1
        parts += [f"## {', '.join(f'`{method.name}`' for method in methods)}", docstring(module)]
        shared = [base for method in methods for base in method.__mro__ if base.__name__.startswith("_")]
        parts += [docstring(f"{base.__module__}.{base.__name__}") for base in dict.fromkeys(shared)]
        for method in methods:
            parts += [] if alone else [f"### `{method.name}`"]
            parts += [docstring(f"{module}.{method.__name__}"), hyperparameters(method)]
    return "\n\n".join(parts)


def docstring(path: str) -> str:
    """The docstring of an object, without a heading or its members."""
    return f"::: {path}\n    options: {{members: false, show_root_heading: false, show_root_toc_entry: false}}"


def hyperparameters(method: type[Method]) -> str:
    """The fields of a method with their defaults."""
    fields = dataclasses.fields(method)  # type: ignore[arg-type]
    rows = [(f"`{method.name}.{field.name}`", f"`{field.default}`") for field in fields]
    return table(["hyperparameter", "default"], rows) if rows else "No hyperparameters."


def test_sets() -> str:
    """The families of test sets, with the names that they give to those of ten small images."""
    tasks: dict[Any, list[str]] = {}
    for task in TASKS:
        for family in task.test_set_families:
            tasks.setdefault(family, []).append(f"`{task.name}`")
    images = np.zeros((10, 1, 28, 28), np.float32)
    rows = []
    for family, own in tasks.items():
        names = [f"`{name}`" for name in family.make(TestSet(images, np.arange(10)), lambda name: images, False)]
        shown = names if len(names) <= 4 else [*names[:2], "...", *names[-2:]]
        what = " ".join((inspect.getdoc(type(family)) or "").partition("\nAttributes:")[0].split())
        in_all = "by name only" if family.optional else "yes"
        rows.append((f"`{family.name}`", in_all, what, ", ".join(shown), ", ".join(own)))
    return table(["family", "in `all`", "what", "test sets", "tasks"], rows)


def listing(what: str) -> str:
    """What `bnnbench list` shows, but for whether data are on this machine."""
    header, rows = listings()[what]()
    kept = [place for place, name in enumerate(header) if name != "data"]
    return table([header[i] for i in kept], [(f"`{row[0]}`", *(row[i] for i in kept[1:])) for row in rows])


def table(header: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """A Markdown table."""
    lines = [header, ["---"] * len(header), *([str(cell).replace("|", "\\|") for cell in row] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


GENERATED: dict[str, Callable[[], str]] = {
    "commands": all_commands,
    "methods": lambda: listing("methods"),
    "spaces": lambda: listing("spaces"),
    "each-method": each_method,
    "tasks": lambda: listing("tasks"),
    "test-sets": test_sets,
    "metrics": lambda: listing("metrics"),
    "budgets": lambda: listing("budgets"),
    "figures": lambda: listing("figures"),
}
