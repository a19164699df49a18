"""Packs on a Ray cluster of two nodes on this machine: the same numbers, and nothing lost with a node."""

import socket
import subprocess
import sys
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

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_worker_niceness", "0")  # or what else runs on this machine leaves them no time
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


@pytest.mark.slow
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


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_who_ends_the_worker_fails_alone(on_ray, tmp_path):
    from estimator_samples import Loop
    from worker_samples import Deadly

    summary = bnnbench.run(["map", Deadly(), Loop()], "toy-antoran", db=tmp_path / "r.db", **on_ray)
    assert summary.statuses == {"ok": 2, "failed": 1}
    assert "deadly: 1 cell failed: its worker was lost 3 times" in summary.warnings[0]


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_node_that_is_lost_takes_no_cell_with_it(cluster, on_ray, tmp_path):
    node = cluster.add_node(num_cpus=1)
    path = tmp_path / "r.db"

    unplugged = (lambda: len(rows(path)) >= 2, cluster.remove_node, node, False)  # in the middle of it
    thread = threading.Thread(target=when, args=unplugged, daemon=True)
    thread.start()
    summary = bnnbench.run(METHODS, "diabetes,toy", db=path, **on_ray)
    thread.join(60)
    assert not thread.is_alive()
    assert summary.statuses == {"ok": 39}
    assert bnnbench.run(METHODS, "diabetes,toy", db=tmp_path / "alone.db", jobs=1, **LIKE).statuses == {"ok": 39}
    pd.testing.assert_frame_equal(bnnbench.scores(path), bnnbench.scores(tmp_path / "alone.db"), check_exact=True)


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_without_a_machine_that_is_large_enough_the_run_ends_in_a_sentence(cluster, on_ray, tmp_path, monkeypatch):
    from bnnbench.experiment import cluster as module

    monkeypatch.setattr(module, "START_S", 3.0)
    node, path = cluster.add_node(num_cpus=2), tmp_path / "r.db"
    thread = threading.Thread(target=when, args=(lambda: len(rows(path)), cluster.remove_node, node), daemon=True)
    thread.start()
    with pytest.raises(UserError, match=r"No worker of the cluster is left\. Run again: what is finished is kept"):
        bnnbench.run(METHODS, "diabetes,toy", db=path, cpus_per_pack=2.0, **on_ray)
    assert bnnbench.run(METHODS, "diabetes,toy", db=path, **on_ray).missing < 39


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_run_that_is_killed_is_taken_up_again(on_ray, tmp_path):
    path = tmp_path / "r.db"
    run = driver(path, "diabetes,toy", on_ray["address"])
    when(lambda: len(rows(path)) >= 2, run.kill)
    run.wait(60)
    left = bnnbench.run(METHODS, "diabetes,toy", db=path, **on_ray)
    assert 0 < left.missing < 39
    assert left.statuses == {"ok": left.missing}
    bnnbench.run(METHODS, "diabetes,toy", db=tmp_path / "alone.db", jobs=1, **LIKE)
    pd.testing.assert_frame_equal(bnnbench.scores(path), bnnbench.scores(tmp_path / "alone.db"), check_exact=True)


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_four_runs_share_a_server_and_a_cluster_too_small_for_them(on_ray, postgres, tmp_path):
    url = postgres.new()
    runs = [driver(url, "diabetes,toy", on_ray["address"], "--artifacts", tmp_path / "arrays") for _ in range(4)]
    assert [run.wait(240) for run in runs] == [0] * 4
    with ResultStore(url, read_only=True) as store:
        assert len(store.attempts()) == 39, "each is trained once"
        assert store.running().empty
    bnnbench.run(METHODS, "diabetes,toy", db=tmp_path / "alone.db", jobs=1, **LIKE)
    pd.testing.assert_frame_equal(bnnbench.scores(url), bnnbench.scores(tmp_path / "alone.db"), check_exact=True)


def driver(db, tasks, address, *more):
    """A run in a process of its own."""
    options = {"methods": METHODS, "task": tasks, "executor": "ray", "address": address, "db": db, **LIKE}
    said = [text for name, value in options.items() for text in (f"--{name}", str(value))]
    command = [sys.executable, "-c", "from bnnbench.cli import main; main()", "run", *said, *map(str, more)]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL)


def when(happens, action, *arguments):
    while not happens():
        time.sleep(0.05)
    action(*arguments)


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
