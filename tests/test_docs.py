"""The documents and the program agree: commands, examples, names, links. `mkdocs build --strict` checks the rest."""

from __future__ import annotations

import doctest
import importlib.util
import re
import shlex
import subprocess
import tomllib
from pathlib import Path

import click
import pytest

import bnnbench
from bnnbench.cli import main

ROOT = Path(__file__).resolve().parents[1]
README, EXTENDING = ROOT / "README.md", ROOT / "docs" / "extending.md"
BESIDE = (README, ROOT / "CONTRIBUTING.md", ROOT / "datasets" / "README.md")  # what mkdocs does not see
DOCUMENTS = (*BESIDE, *sorted((ROOT / "docs").rglob("*.md")))

_spec = importlib.util.spec_from_file_location("reference", ROOT / "docs" / "hooks" / "reference.py")
assert _spec is not None
assert _spec.loader is not None
reference = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(reference)

ALL = dict(reference.commands())


def blocks(path: Path, language: str) -> list[str]:
    """Contents of the fenced code blocks of a language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", path.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)


def parse(line: str) -> click.Context:
    """Parse one command line as the program would, without running it; bad input raises."""
    words = shlex.split(line, comments=True)[1:]
    command, name, context = main, "bnnbench", None
    while isinstance(command, click.Group) and words and words[0] in command.commands:
        context = click.Context(command, info_name=name, parent=context)
        name, command = words[0], command.commands[words.pop(0)]
    return command.make_context(name, words, parent=context)


def documented() -> list[str]:
    """Every `bnnbench ...` line of the documents and of the help texts."""
    shell = [block for path in DOCUMENTS for block in blocks(path, "(?:bash|sh)")]
    whole = [line for block in shell for line in block.replace("\\\n", " ").splitlines()]  # lines continued by \\
    lines = [part.strip() for line in whole for part in re.split(r"&&|[|>]", line)]
    found = [re.sub(r"^\S*bnnbench", "bnnbench", line) for line in lines if re.match(r"(\S*/)?bnnbench ", line)]
    return list(dict.fromkeys([*found, *(line for c in ALL.values() for line in reference.purpose_and_examples(c)[1])]))


def options(command: click.Command) -> list[click.Option]:
    return [param for param in command.params if isinstance(param, click.Option)]


@pytest.mark.parametrize("name", ALL)
def test_help_tells_the_purpose_and_an_example(name: str) -> None:
    text, examples = reference.purpose_and_examples(ALL[name])
    assert text.endswith(".")
    assert examples
    assert all(example.startswith(name) for example in examples)


@pytest.mark.parametrize("name", ALL)
def test_every_option_has_a_help_text(name: str) -> None:
    assert all(option.help for option in options(ALL[name]))


def test_reference_has_every_command_and_option() -> None:
    sections = reference.GENERATED["commands"]().removeprefix("## ").split("\n## ")
    for name, command in ALL.items():
        if not isinstance(command, click.Group):
            (own,) = [section for section in sections if re.match(rf"`{name}[` ]", section)]
            assert all(f"`{option.opts[0]}" in own for option in options(command) if not option.hidden)


def test_reference_has_all_that_is_registered() -> None:
    from bnnbench.methods import METHODS
    from bnnbench.metrics import METRICS
    from bnnbench.reporting.figures.paper.catalogue import CHARTS
    from bnnbench.tasks import TASKS
    from bnnbench.tasks.budget import BUDGETS

    for what, names in (
        ("methods", METHODS.names()),
        ("tasks", TASKS.names()),
        ("test-sets", dict.fromkeys(family.name for task in TASKS for family in task.test_set_families)),
        ("metrics", METRICS.names()),
        ("budgets", BUDGETS),
        ("figures", CHARTS),
    ):
        assert re.findall(r"^\| `(.+?)` \|", reference.GENERATED[what](), re.MULTILINE) == list(names)
    sections = reference.GENERATED["each-method"]()
    for method in METHODS:
        assert all(f"| `{method.name}.{name}` | `{value}` |" in sections for name, value in vars(method()).items())


def test_pages_of_the_reference_take_all_that_is_generated() -> None:
    pages = [path.read_text(encoding="utf-8") for path in (ROOT / "docs").rglob("*.md")]
    assert sorted(name for page in pages for name in reference.PLACE.findall(page)) == sorted(reference.GENERATED)


@pytest.mark.parametrize("name", reference.GENERATED)
def test_generated_tables_have_rows_of_one_length(name: str) -> None:
    tables = re.findall(r"(?:^\|.*\n?)+", reference.GENERATED[name](), re.MULTILINE)
    assert tables
    for rows in tables:
        assert len({len(re.findall(r"(?<!\\)\|", row)) for row in rows.splitlines()}) == 1


@pytest.mark.parametrize("line", documented())
def test_documented_commands_are_accepted(line: str) -> None:
    """Options and arguments parse, and the methods, tasks and test sets of `run` exist; names of a user's own are
    `my-...`."""
    from bnnbench.experiment.request import parse_overrides
    from bnnbench.methods import METHODS
    from bnnbench.tasks import TASKS
    from bnnbench.tasks.budget import budget_of

    context = parse(line)
    if context.info_name == "run":
        for registry, names in ((METHODS, context.params["methods"]), (TASKS, context.params["tasks"])):
            registry.select(n for n in names.split(",") if n != "all" and not n.startswith("my-"))
        budget_of(context.params["budget"])
        parse_overrides(s for s in context.params["settings"] if not s.startswith("my-"))
        families = {
            name for task in TASKS for family in task.test_set_families for name in (family.name, *family.groups)
        }
        assert set(filter(None, context.params["test_sets"].split(","))) <= families | {"all", "noise"}
        assert not (context.params["splits"] or "").strip("0123456789,")


def test_first_screen_holds_two_commands() -> None:
    """Each in a block of its own, one line that starts from nothing."""
    install, test = blocks(README, "bash")[:2]
    assert README.read_text(encoding="utf-8").index(test) < 1500
    for block in (install, test):
        assert block.count("\n") == 1
        assert block.startswith("python3 -m venv .venv && .venv/bin/pip install ")
        subprocess.run(["bash", "-n", "-c", block], check=True)
    assert "bnnbench run " in install
    assert test.rstrip().endswith(".venv/bin/pytest -n 2")


def test_readme_is_short() -> None:
    assert len(README.read_text(encoding="utf-8").splitlines()) <= 160


def examples(path: Path) -> list[doctest.DocTest]:
    """The `>>>` examples of a document, which share their names, or of the functions of a module."""
    name = str(path.relative_to(ROOT))
    if path.suffix == ".py":
        module = importlib.import_module(".".join(path.relative_to(ROOT).with_suffix("").parts))
        return [test for test in doctest.DocTestFinder().find(module) if test.examples]
    text = "\n".join(block for block in blocks(path, "python") if ">>>" in block)
    return [doctest.DocTestParser().get_doctest(text, {}, name, name, 0)] if text else []


WITH_EXAMPLES = [path for path in DOCUMENTS if examples(path)]


@pytest.mark.parametrize("path", [*WITH_EXAMPLES, ROOT / "bnnbench" / "api.py"], ids=lambda path: path.name)
def test_python_examples(path: Path) -> None:
    """The examples run, at the smoke budget and in temporary folders."""
    import torch

    threads, told = torch.get_num_threads(), []
    runner = doctest.DocTestRunner()
    try:
        for test in examples(path):
            runner.run(test, out=told.append)
    finally:
        torch.set_num_threads(threads)
    assert runner.tries > 0
    assert not runner.failures, "".join(told)


def test_documents_with_examples_are_found() -> None:
    assert {path.name for path in WITH_EXAMPLES} >= {"README.md", "python.md", "layers.md", "flows.md"}


def test_method_of_the_readme_runs(tmp_path: Path) -> None:
    (source,) = [block for block in blocks(README, "python") if ">>>" not in block]
    names: dict = {}
    exec(compile(source, "README.md", "exec"), names)
    summary = bnnbench.run(names["MySGD"](lr=0.02), "diabetes", splits=[0], budget="smoke", db=tmp_path / "mine.db")
    assert {status.value for status in summary.statuses} == {"ok"}


def test_version_is_the_same_everywhere() -> None:
    version = bnnbench.__version__
    assert tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"] == version
    assert re.search(rf"^version: {re.escape(version)}$", (ROOT / "CITATION.cff").read_text(), re.MULTILINE)
    assert re.search(rf"^## \[{re.escape(version)}\]", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)


def test_files_that_documents_name_exist() -> None:
    named = {
        (path.name, name)
        for path in DOCUMENTS
        for name in re.findall(
            r"`((?:bnnbench|tests|docs|datasets|benchmarks|reports)/[\w./-]+)`", path.read_text("utf-8")
        )
    }
    assert len(named) > 10
    made = "datasets/cache"  # by a download
    assert not [pair for pair in named if pair[1] != made and not (ROOT / pair[1]).exists()]


def anchors(path: Path) -> set[str]:
    """The anchors of a document's headings."""
    headings = re.findall(r"^#+ (.*)$", path.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading).strip().lower().replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("path", BESIDE, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_somewhere(path: Path) -> None:
    links = re.findall(r"\]\((?!https?:)([^)#]*)#?([^)]*)\)", path.read_text(encoding="utf-8"))
    assert links
    for target, anchor in links:
        found = (path.parent / target) if target else path
        assert found.exists(), f"{path.name} points to {target}, which does not exist"
        assert not anchor or anchor in anchors(found), f"{path.name} points to {target}#{anchor}, which does not exist"
