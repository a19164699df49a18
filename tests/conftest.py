"""What all tests share: the real data, where a machine has them."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

# A shell has what it runs in the background ignore interrupts, which the commands that tests interrupt would inherit.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

NEAR = Path(__file__).resolve().parents[2] / "shared" / "data"  # beside a checkout
ASKED = os.environ.get("BNNBENCH_DATA")


@pytest.fixture(scope="session", autouse=True)
def _data_environment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """BNNBENCH_DATA names the real data, else an empty folder: no test fills the checkout's own cache."""
    with pytest.MonkeyPatch.context() as patch:
        root = ASKED or (NEAR if NEAR.is_dir() else tmp_path_factory.mktemp("no-data"))
        patch.setenv("BNNBENCH_DATA", str(Path(root).absolute()))
        yield


@pytest.fixture(scope="session")
def data_root() -> Path:
    """The real data sets; a test that asks for them is skipped where there are none."""
    root = Path(ASKED) if ASKED else NEAR
    if not (root / "uci").is_dir():
        pytest.skip(f"no real data in {root}; set BNNBENCH_DATA")
    return root.absolute()


@pytest.fixture(scope="session")
def postgres() -> Iterator[Any]:
    """A PostgreSQL server; a test that asks for it is skipped where none is installed, and fails where one is known to
    be: BNNBENCH_TEST_POSTGRES=require."""
    try:
        from postgres import Cluster, programs

        folder, missing = programs(), "no PostgreSQL server here; apt-get install postgresql"
    except ImportError:
        folder, missing = None, "no driver of PostgreSQL here; pip install 'psycopg[binary]'"
    if folder is None:
        assert os.environ.get("BNNBENCH_TEST_POSTGRES") != "require", missing
        pytest.skip(missing)
    with Cluster(folder) as cluster:
        yield cluster


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Neighbouring tests go to one worker, so that most fixtures of a module are made once; who is idle takes over."""
    from xdist.scheduler import WorkStealingScheduling

    return WorkStealingScheduling(config, log) if config.option.dist == "load" else None
