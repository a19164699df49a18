"""Packs on a Ray cluster of two nodes on this machine: the same numbers, and nothing lost with a node."""

import socket
import threading
import time

import pandas as pd
import pytest

import bnnbench
from bnnbench.errors import UserError
from bnnbench.store.store import ResultStore

ray = pytest.importorskip("ray", reason="Ray is not installed (extra `ray`)")

LIKE = {"budget": "smoke", "device": "cpu"}
METHODS, TASK = "constant,map,sgld", "toy"


@pytest.fixture(scope="module")
def cluster():
    from ray.cluster_utils import Cluster

    made = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    made.add_node(num_cpus=1)
    yield made
    ray.shutdown()
    made.shutdown()


@pytest.fixture
def on_ray(cluster):
    return {**LIKE, "executor": "ray", "address": cluster.address}


@pytest.mark.timeout(300)
def test_the_numbers_are_those_of_one_process(on_ray, tmp_path):
    for name, options in (("ray", on_ray), ("alone", {**LIKE, "jobs": 1})):
        summary = bnnbench.run(METHODS, TASK, db=tmp_path / f"{name}.db", **options)
        assert (summary.cells, summary.missing, summary.statuses, summary.warnings) == (9, 9, {"ok": 9}, ())
    scores = [bnnbench.scores(tmp_path / f"{name}.db") for name in ("ray", "alone")]
    pd.testing.assert_frame_equal(*scores, check_exact=True)
    with ResultStore(tmp_path / "ray.db", read_only=True) as store:
        assert store.running().empty
        assert set(store.sessions()["host"]) == {socket.gethostname()}
        fingerprint = store.attempts(method="map").fingerprint[0]
        assert store.artifact(fingerprint, "posterior")  # which came by the network
    assert bnnbench.run(METHODS, TASK, db=tmp_path / "ray.db", **on_ray).missing == 0


@pytest.mark.timeout(300)
def test_further_test_sets_and_trials_are_recorded_from_afar(on_ray, tmp_path):
    bnnbench.run("map", "diabetes", splits="0", calibrate="temperature", db=tmp_path / "r.db", **on_ray)
    assert "test-temperature" in set(bnnbench.scores(tmp_path / "r.db").evaluation)
    summary = bnnbench.tune("map", "diabetes", splits="0,1", trials=3, db=tmp_path / "t.db", **on_ray)
    assert (summary.cells, summary.statuses) == (6, {"ok": 6})


@pytest.mark.timeout(300)
def test_a_single_pack_is_not_trained_by_the_run_itself(on_ray, tmp_path):
    from worker_samples import Talking

    summary = bnnbench.run(Talking(), "toy-antoran", jobs=1, db=tmp_path / "r.db", **on_ray)
    assert summary.statuses == {"ok": 1}
    with ResultStore(tmp_path / "r.db", read_only=True) as store:
        assert len(store.sessions()) == 1  # that of the worker


@pytest.mark.timeout(300)
def test_who_ends_the_worker_fails_alone(on_ray, tmp_path):
    from estimator_samples import Loop
    from worker_samples import Deadly

    summary = bnnbench.run(["map", Deadly(), Loop()], "toy-antoran", db=tmp_path / "r.db", **on_ray)
    assert summary.statuses == {"ok": 2, "failed": 1}
    assert "deadly: 1 cell failed: its worker was lost 3 times" in summary.warnings[0]


@pytest.mark.timeout(300)
def test_a_node_that_is_lost_takes_no_cell_with_it(cluster, on_ray, tmp_path, monkeypatch):
    from bnnbench.experiment import cluster as module

    node = cluster.add_node(num_cpus=1)
    path = tmp_path / "r.db"

    def pull_the_plug():
        while len(rows(path)) < 2:  # in the middle of it
            time.sleep(0.05)
        monkeypatch.setattr(module, "START_S", 10.0)  # the lost one finds no room; the first starts took what they took
        cluster.remove_node(node, allow_graceful=False)

    thread = threading.Thread(target=pull_the_plug, daemon=True)
    thread.start()
    summary = bnnbench.run(METHODS, "diabetes,toy", db=path, **on_ray)
    thread.join(60)
    assert not thread.is_alive()
    assert summary.statuses == {"ok": 39}
    assert bnnbench.run(METHODS, "diabetes,toy", db=tmp_path / "alone.db", jobs=1, **LIKE).statuses == {"ok": 39}
    pd.testing.assert_frame_equal(bnnbench.scores(path), bnnbench.scores(tmp_path / "alone.db"), check_exact=True)


def rows(path):
    try:
        with ResultStore(path, read_only=True) as store:
            return store.attempts()
    except UserError:  # it is just being made
        return []


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"executor": "slurm"}, "--executor must be local or ray, not 'slurm'"),
        ({"address": "auto"}, "--address is of a Ray cluster"),
        ({"executor": "ray", "cpus_per_pack": 64.0}, "fewer than a pack takes"),
        ({"executor": "ray", "cpus_per_pack": 0.0}, "--cpus-per-pack"),
        ({"executor": "ray", "memory": 1.0}, "--memory is of processes of this machine"),
        ({"executor": "ray", "device": "cuda"}, "--device cuda on a Ray cluster needs --gpus-per-pack"),
        ({"executor": "ray", "gpus_per_pack": 1.0}, "--gpus-per-pack is for --device cuda"),
        ({"executor": "ray", "address": "10.0.0.1:6379"}, "is connected to the Ray cluster at"),
        ({"cpus_per_pack": 2.0}, "--cpus-per-pack is of a Ray cluster"),
    ],
)
def test_bad_input_is_one_sentence(cluster, options, sentence, tmp_path):
    with pytest.raises(UserError, match=sentence):
        bnnbench.run("map", "toy-antoran", db=tmp_path / "r.db", **{**LIKE, **options})
