"""An open store of one session."""

import pytest
from store_samples import prepared


@pytest.fixture
def path(tmp_path):
    return tmp_path / "results.db"


@pytest.fixture
def store(path):
    opened, _ = prepared(path)
    with opened:
        yield opened


@pytest.fixture
def session(store) -> int:
    return int(store.sessions()["id"].iloc[0])
