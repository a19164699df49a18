"""Dependencies point down only, and `--help` answers at once."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

import bnnbench

PACKAGE = Path(bnnbench.__file__).parent

# Part -> parts it may import. `records` is bnnbench/records.py, plain records that everybody may speak of.
BOTTOM = {"errors", "arguments", "registry", "random", "names"}
LEARNED = {*BOTTOM, "nets", "layers", "flows"}
TENSORS = {*LEARNED, "model", "methods", "data", "tasks", "records"}
MAY_IMPORT = {
    "_version": set(),
    "errors": set(),
    "arguments": {"errors"},
    "registry": {"errors"},
    "random": {"errors", "files"},
    "records": {"names"},
    "names": set(),
    "files": {"errors"},
    "nets": {*BOTTOM},
    "flows": {*BOTTOM, "nets"},
    "layers": {*BOTTOM, "nets", "flows"},
    "model": {*LEARNED},
    "methods": {*LEARNED, "model"},
    "adapters": {*LEARNED, "model", "methods"},
    "metrics": {*BOTTOM, "model", "records"},
    "data": {*BOTTOM, "model", "files"},
    "tasks": {*LEARNED, "model", "data"},
    "engine": {*TENSORS, "files", "_version"},
    "evaluation": {*TENSORS, "metrics", "engine"},
    "predictions": {*BOTTOM, "model", "files"},
    "store": {"errors", "names", "arguments", "registry", "records", "files", "_version"},
    "reporting": {"errors", "names", "registry", "files", "store", "records"},
    "checks": {*TENSORS, "engine", "evaluation"},
    "experiment": {*TENSORS, "files", "metrics", "predictions", "engine", "evaluation", "checks", "store", "_version"},
    "api": {"errors", "names", "arguments", "methods", "tasks", "experiment", "engine", "checks", "store", "reporting"},
    "cli": {"errors", "names", "arguments", "registry", "_version", "api", "methods", "data", "tasks", "metrics",
            "experiment", "store", "reporting"},
    "bnnbench": {"_version", "api"},
}  # fmt: skip

# Part -> packages of others it may import.
OTHERS = {
    "errors": set(),
    "arguments": set(),
    "registry": set(),
    "records": {"numpy"},
    "store": {"sqlalchemy", "alembic", "numpy", "pandas", "psutil", "safetensors", "platformdirs", "upath"},
    "reporting": {
        "numpy",
        "pandas",
        "scipy",
        "matplotlib",
        "seaborn",
        "jinja2",
        "markupsafe",
        "itables",
        "vl_convert",
        "optuna",
    },
    "cli": {"click", "rich"},
}

HEAVY = {"torch", "torchvision", "numpy", "pandas", "scipy", "sklearn", "matplotlib", "seaborn", "sqlalchemy"}
HEAVY |= {"alembic", "psutil", "requests"}
# Libraries of adapters, with those that they bring; each is an extra.
EXTRAS = {"bayesian_torch", "gpytorch", "ivon", "jax", "laplace", "ngboost", "numpyro", "posteriors"}
EXTRAS |= {"torch_uncertainty", "torchopt", "vbll"}


def part(module: str) -> str:
    """The part of bnnbench that a dotted module name belongs to."""
    if module.startswith("bnnbench.records"):
        return "records"
    return module.split(".")[1] if "." in module else "bnnbench"


def name_of(path: Path) -> str:
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports(path: Path, known: set[str]) -> Iterator[tuple[int, str]]:
    """(line, module) of every import statement of a file, those inside functions included."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: write imports from the root, `from bnnbench...`"
            assert node.module is not None
            for alias in node.names:  # `from bnnbench import random` imports a module, `import __version__` does not
                whole = f"{node.module}.{alias.name}"
                yield node.lineno, whole if whole in known else node.module


def all_imports() -> list[tuple[str, str, str]]:
    """(importing module, where, imported module) over the whole package."""
    files = {name_of(path): path for path in sorted(PACKAGE.rglob("*.py"))}
    return [
        (name, f"{path.relative_to(PACKAGE.parent)}:{line}", target)
        for name, path in files.items()
        for line, target in imports(path, set(files))
    ]


IMPORTS = all_imports()


def test_every_part_has_its_rule() -> None:
    assert {part(name) for name, _, _ in IMPORTS} <= set(MAY_IMPORT)


def test_rules_hold_no_circle() -> None:
    """Apart from the package's own front door, `bnnbench.__init__`, which loads the API on first use."""
    left = {name: targets - {"bnnbench"} for name, targets in MAY_IMPORT.items() if name != "bnnbench"}
    while left:
        lowest = {name for name, targets in left.items() if not targets & left.keys()}
        assert lowest, f"the rules of {', '.join(left)} run in a circle"
        left = {name: targets for name, targets in left.items() if name not in lowest}


def test_imports_point_down() -> None:
    wrong = [
        f"{where}: {part(name)} may not import {target}"
        for name, where, target in IMPORTS
        if target.split(".")[0] == "bnnbench" and part(target) not in MAY_IMPORT[part(name)] | {part(name)}
    ]
    assert not wrong, "\n".join(wrong)


def test_only_known_packages_where_it_matters() -> None:
    wrong = [
        f"{where}: {part(name)} may not import {target}"
        for name, where, target in IMPORTS
        if part(name) in OTHERS
        and target.split(".")[0] not in {*OTHERS[part(name)], "bnnbench", *sys.stdlib_module_names}
    ]
    assert not wrong, "\n".join(wrong)


def test_what_is_imported_is_declared_and_the_reverse() -> None:
    text = (PACKAGE.parent / "pyproject.toml").read_text(encoding="utf-8")
    project = tomllib.loads(text)["project"]
    declared = {re.split(r"[<>=]", line)[0] for line in project["dependencies"]}
    owners = packages_distributions() | {"vl_convert": ["vl-convert-python"]}
    optional = EXTRAS & {target.split(".")[0] for name, _, target in IMPORTS if part(name) == "adapters"}
    assert optional == EXTRAS
    packages = {target.split(".")[0] for _, _, target in IMPORTS} - {"bnnbench", *optional, *sys.stdlib_module_names}
    packages -= {"markupsafe", "ray"}  # of Jinja, and an extra
    assert {owners.get(package, [package])[0].lower().replace("_", "-") for package in packages} == declared


@pytest.mark.parametrize(
    ("statement", "unwanted"),
    [
        pytest.param("from bnnbench.cli import main; main(['--help'], standalone_mode=False)", HEAVY, id="help"),
        pytest.param("from bnnbench.cli import main; main(['run', '-h'], standalone_mode=False)", HEAVY, id="run-help"),
        pytest.param(
            "import bnnbench.reporting, bnnbench.reporting.front, bnnbench.reporting.figures.section",
            {"torch", "sklearn", "bnnbench.model", "bnnbench.methods", "bnnbench.tasks", "bnnbench.experiment.plan"},
            id="report",
        ),
        pytest.param("import bnnbench.api, bnnbench.data.loaders", {"torchvision", "requests", "PIL"}, id="api"),
        pytest.param("import bnnbench.adapters", EXTRAS, id="adapters"),
        pytest.param("import bnnbench.store.store", {"torch", "matplotlib", "bnnbench.methods"}, id="store"),
    ],
)
def test_not_loaded(statement: str, unwanted: set[str]) -> None:
    """In a process of its own, for the modules of this one are loaded long since."""
    code = f"import sys; {statement}; print('\\nLOADED', *({unwanted!r} & sys.modules.keys()))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=300)
    assert done.stdout.splitlines()[-1].split() == ["LOADED"]
