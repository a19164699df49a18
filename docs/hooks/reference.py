"""The pages of the reference that the registries and the command line give: a hook of mkdocs, which no file holds."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import click

from bnnbench.cli import main
from bnnbench.cli.results import listings
from bnnbench.methods import METHODS, Method


def on_files(files: Any, *, config: Any) -> Any:
    """Called by mkdocs once it has collected the written pages."""
    from mkdocs.structure.files import File

    for name, page in PAGES.items():
        files.append(File.generated(config, f"reference/{name}.md", content=page()))
    return files


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


def table(header: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """A Markdown table."""
    lines = [header, ["---"] * len(header), *([str(cell).replace("|", "\\|") for cell in row] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def listing(what: str) -> str:
    """What `bnnbench list` shows, but for whether data are on this machine."""
    header, rows = listings()[what]()
    kept = [place for place, name in enumerate(header) if name != "data"]
    return table([header[i] for i in kept], [(f"`{row[0]}`", *(row[i] for i in kept[1:])) for row in rows])


def commands_page() -> str:
    called = [command_text(name, c) for name, c in commands() if not isinstance(c, click.Group)]
    return "\n\n".join(["# Commands", COMMANDS, *called])


def command_text(name: str, command: click.Command) -> str:
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


def methods_page() -> str:
    modules: dict[str, list[type[Method]]] = {}
    for method in METHODS:
        modules.setdefault(method.__module__, []).append(method)
    parts = ["# Methods", METHODS_INTRO, listing("methods")]
    for module, methods in modules.items():
        parts += [f"## {', '.join(f'`{method.name}`' for method in methods)}", docstring(module)]
        shared = [base for method in methods for base in method.__mro__ if base.__name__.startswith("_")]
        parts += [docstring(f"{base.__module__}.{base.__name__}") for base in dict.fromkeys(shared)]
        for method in methods:
            parts += [f"### `{method.name}`", docstring(f"{module}.{method.__name__}"), hyperparameters(method)]
    return "\n\n".join(parts)


def docstring(path: str) -> str:
    """The docstring of an object, without a heading or its members."""
    return f"::: {path}\n    options: {{members: false, show_root_heading: false, show_root_toc_entry: false}}"


def hyperparameters(method: type[Method]) -> str:
    """The fields of a method with their defaults."""
    fields = dataclasses.fields(method)  # type: ignore[arg-type]
    rows = [(f"`{method.name}.{field.name}`", f"`{field.default}`") for field in fields]
    return table(["hyperparameter", "default"], rows) if rows else "No hyperparameters."


def tasks_page() -> str:
    return "\n\n".join(["# Tasks", TASKS_INTRO, listing("tasks")])


def metrics_page() -> str:
    return "\n\n".join(["# Metrics", METRICS_INTRO, listing("metrics")])


def budgets_page() -> str:
    return "\n\n".join(["# Budgets", BUDGETS_INTRO, listing("budgets"), BUDGETS_NOTE])


COMMANDS = """\
Bad input is answered by one sentence and exit status 2, before anything is written. What cannot be trained, such as a
method that refuses a task's network, is stored as a failed cell, shown with its reason, and tried again by the next run;
all else goes on. `bnnbench run` has exit status 1 if every cell that was to be trained failed. Ctrl-C leaves in the
database what is finished.

A run holds at most 100,000 cells and one thread for each core. Whole-number hyperparameters are at most 100,000, layers
of flows 1,000, and what would need more memory than the machine has is not tried."""
METHODS_INTRO = """\
`--methods` takes names and groups, with commas. `all` means every method but the group `references`, which runs when
named. A [method of your own](../extending.md#add-a-method) stands in the same tables. `other-target` marks methods whose
prior or model is not the task's. The hyperparameters below are set by `--set METHOD.PARAM=VALUE`; tasks on images and
densities have [defaults of their own](../tuning.md)."""
TASKS_INTRO = """\
`--task` takes names and groups, with commas. `all` skips tasks whose data are missing, with a warning. The first split
rule of a task is its default; `--split-rule` takes another. [Protocol](../protocol.md#splits) says what the rules are."""
METRICS_INTRO = """\
Each metric is a score of the predictive mixture on one test set, with its standard error over the test points, computed
when a cell is trained. `target` is the unit of the target."""
BUDGETS_INTRO = """\
A budget says how many minibatch gradients each trained network or chain gets, whatever the method."""
BUDGETS_NOTE = """\
Tasks on images count epochs instead: 5 at `quick` and 40 at `full`, three times as many of the small CIFAR sample.
`mnist-vae` has 86,000 gradients (200 epochs) and 500 samples at `full`."""

PAGES: dict[str, Callable[[], str]] = {
    "commands": commands_page,
    "methods": methods_page,
    "tasks": tasks_page,
    "metrics": metrics_page,
    "budgets": budgets_page,
}
