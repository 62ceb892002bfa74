"""A search on a Ray cluster: a real one, of several processes of this machine, started as its users start one."""

import errno
import os
import re
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import optuna
import pytest
from ports import free_port

from mnasnet.errors import SearchError, SettingsError
from mnasnet.search.cluster import search_on_cluster
from mnasnet.search.records import records
from mnasnet.search.study import Budget, create_study
from tests.search.test_workers import problem_of
from tests.search.workers_evaluators import deadly, failing, plain, refusing, stepwise


@pytest.fixture(scope="module")
def client_port() -> int:
    """Where the cluster lets in those who are no part of it."""
    return free_port()


@pytest.fixture(scope="module")
def cluster(tmp_path_factory, client_port) -> Iterator[str]:
    """The address of a cluster of one node with two places."""
    pytest.importorskip("ray", reason="Ray is not installed")
    port, folder = free_port(), tmp_path_factory.mktemp("ray")
    environment = {
        **os.environ,
        "RAY_AUTH_MODE": "disabled",
        "RAY_USAGE_STATS_ENABLED": "0",
        "PYTHONPATH": str(Path(__file__).parents[2]),
    }
    os.environ["RAY_AUTH_MODE"] = "disabled"
    options = f"--port={port} --num-cpus=2 --include-dashboard=false --disable-usage-stats --temp-dir={folder}"
    options += f" --ray-client-server-port={client_port}"
    head = subprocess.Popen(
        [Path(sys.executable).with_name("ray"), "start", "--head", "--block", *options.split()],
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    deadline = time.monotonic() + 120
    while not answers(port):
        assert head.poll() is None and time.monotonic() < deadline
        time.sleep(0.2)  # until it listens
    yield f"127.0.0.1:{port}"
    head.terminate()
    head.wait(timeout=60)


def answers(port: int) -> bool:
    with socket.socket() as caller:
        return caller.connect_ex(("127.0.0.1", port)) == 0


def study_of() -> optuna.Study:
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    pruner = optuna.pruners.MedianPruner(n_startup_trials=5)
    return create_study(problem_of(), algorithm="random", seed=5, pruner=pruner)


@pytest.mark.slow
class TestCluster:
    def test_networks_are_judged_on_the_cluster_within_the_budget(self, cluster):
        study = study_of()

        ending = search_on_cluster(plain, study, problem_of(), Budget(evaluations=20), address=cluster)

        assert ending == "budget"
        judged = [record.fingerprint for record in records(study) if record.duplicate_of is None]
        assert len(judged) == len(set(judged)) == 20

    def test_a_cluster_is_reached_through_its_client_server(self, cluster, client_port):
        pytest.importorskip("grpc", reason="Ray's client is not installed")
        study, address = study_of(), f"ray://127.0.0.1:{client_port}"

        search_on_cluster(plain, study, problem_of(), Budget(evaluations=4), address=address)

        assert {record.state for record in records(study)} == {"done"}

    def test_a_search_that_cannot_be_sent_leaves_the_cluster(self, cluster):
        import ray

        lock = threading.Lock()  # no process can be sent one

        with pytest.raises(TypeError, match="Could not serialize"):
            search_on_cluster(lambda stop: lock, study_of(), problem_of(), Budget(evaluations=1), address=cluster)

        assert not ray.is_initialized()

    def test_a_killed_processs_network_is_judged_again(self, cluster, tmp_path):
        study = study_of()

        make = partial(deadly, tmp_path, 1, 3)
        search_on_cluster(make, study, problem_of(), Budget(evaluations=6), address=cluster)

        assert {record.state for record in records(study)} == {"done"}
        assert list(tmp_path.iterdir()), "no process was killed"

    def test_a_network_that_kills_its_process_twice_has_failed(self, cluster, tmp_path):
        study = study_of()

        make = partial(deadly, tmp_path, 9, 3)
        search_on_cluster(make, study, problem_of(), Budget(evaluations=6), address=cluster)

        failed = [record for record in records(study) if record.state == "failed"]
        assert failed
        assert all(record.reason.startswith("its task was lost: ") for record in failed)

    def test_hopeless_networks_are_pruned_on_the_cluster(self, cluster):
        study = study_of()

        search_on_cluster(stepwise, study, problem_of(), Budget(evaluations=20), address=cluster)

        assert {record.state for record in records(study)} == {"done", "pruned"}

    def test_failures_keep_their_reason(self, cluster):
        study = study_of()

        search_on_cluster(failing, study, problem_of(), Budget(evaluations=2), address=cluster)

        assert [record.reason for record in records(study)] == ["RuntimeError: out of memory"] * 2

    def test_an_evaluator_that_cannot_be_made_says_why(self, cluster):
        with pytest.raises(SearchError, match="could not prepare its work: ValueError: the images went missing"):
            search_on_cluster(refusing, study_of(), problem_of(), Budget(evaluations=2), address=cluster)


@pytest.mark.parametrize("host", ["127.0.0.1", "ray://127.0.0.1", "[::1]"])
def test_a_cluster_that_is_away_is_named(host):
    pytest.importorskip("ray", reason="Ray is not installed")
    address = f"{host}:{free_port()}"

    with pytest.raises(SearchError, match=re.escape(f"at {address} ([Errno {errno.ECONNREFUSED}]")):
        search_on_cluster(plain, study_of(), problem_of(), Budget(evaluations=1), address=address)


def test_a_network_needs_cores():
    with pytest.raises(SettingsError, match="needs more than 0 cores"):
        search_on_cluster(plain, study_of(), problem_of(), Budget(evaluations=1), address="auto", cpus=0)
