"""What is shipped: a wheel and a source archive without results, and a checkout that stays small."""

from __future__ import annotations

import re
import subprocess
import tarfile
import zipfile
from pathlib import Path

import pytest
from hatchling.builders.sdist import SdistBuilder
from hatchling.builders.wheel import WheelBuilder

ROOT = Path(__file__).resolve().parents[1]
MB = 1_000_000
PICTURES = {".svg", ".png", ".pdf", ".jpg", ".gif"}
RESULTS = re.compile(r"\.(db|csv\.gz|parquet|artifacts|safetensors)$|(^|/)reports/|(^|/)cache/")


def tracked() -> list[Path]:
    """Files that git keeps; a test that asks is skipped where there is no git."""
    try:
        command = ["git", "-C", str(ROOT), "ls-files", "-z"]
        listed = subprocess.run(command, capture_output=True, text=True, check=True, encoding="utf-8").stdout
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("no checkout of git")
    return [Path(name) for name in listed.split("\0") if name]


def test_a_wheel_holds_the_package_and_the_cards_alone(tmp_path: Path) -> None:
    (built,) = WheelBuilder(str(ROOT)).build(directory=str(tmp_path), versions=["standard"])
    with zipfile.ZipFile(built) as wheel:
        names = [name for name in wheel.namelist() if ".dist-info/" not in name]
    assert Path(built).stat().st_size <= 4 * MB  # three of them posteriors
    assert {name.partition("/")[0] for name in names} == {"bnnbench"}
    assert not [name for name in names if RESULTS.search(name)]
    cards = {f"bnnbench/data/card_files/{path.name}" for path in (ROOT / "datasets" / "cards").iterdir()}
    own = {path.relative_to(ROOT).as_posix() for path in (ROOT / "bnnbench").rglob("*") if path.is_file()}
    assert set(names) == cards | {name for name in own if "__pycache__" not in name}


def test_a_source_archive_holds_what_builds_and_tests_it_and_no_results(tmp_path: Path) -> None:
    (built,) = SdistBuilder(str(ROOT)).build(directory=str(tmp_path))
    with tarfile.open(built) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert Path(built).stat().st_size <= 5 * MB
    assert not [name for name in names if RESULTS.search(name)]
    assert {"pyproject.toml", "README.md", "LICENSE", "CHANGELOG.md", "mkdocs.yml", "docs/index.md"} <= names
    assert {"bnnbench/__init__.py", "tests/test_package.py", "datasets/cards/yacht.toml"} <= names


def test_a_checkout_stays_small() -> None:
    """The sizes of what git keeps, each version of which it keeps for ever."""
    sizes = {path: (ROOT / path).stat().st_size for path in tracked() if (ROOT / path).is_file()}
    assert sum(sizes.values()) <= 27 * MB
    most = {"results.db": 17, "reports/index.html": 5}  # MB: every score of 5,200 cells, and the page made of them
    for path, size in sizes.items():
        assert size <= most.get(path.as_posix(), 0.5) * MB, path


def test_figures_in_git_are_those_that_readme_and_docs_show() -> None:
    pictures = {path for path in tracked() if path.suffix in PICTURES}
    shown = set()
    for page in [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")]:
        for target in re.findall(r"!\[[^\]]*\]\(([^)]+)\)", page.read_text(encoding="utf-8")):
            shown.add((page.parent / target).resolve().relative_to(ROOT))
    assert pictures == shown
    assert len(pictures) <= 12


def test_pages_in_git_show_no_figure_that_is_not_there() -> None:
    """Reports among them."""
    for page in (path for path in tracked() if path.suffix == ".md"):
        text = (ROOT / page).read_text(encoding="utf-8")
        targets = re.findall(r"\]\(((?:\.\./|images/|figures/|docs/images/)[^)#]+)", text)
        missing = [target for target in targets if not ((ROOT / page).parent / target).exists()]
        assert not missing, page
