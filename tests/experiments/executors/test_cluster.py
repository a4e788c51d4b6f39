"""Addresses of clusters that are not there, and rooms on those that are."""

import socket
import time

import pytest

from kerasticket.experiments.executors import cluster

pytest.importorskip("ray", reason="Ray is not installed: pip install kerasticket[ray]")
pytestmark = pytest.mark.same_on_every_backend


def refuses(address, why):
    started = time.monotonic()
    with (
        pytest.raises(ValueError, match=f"--address of a Ray cluster.*'{address}': {why}"),
        cluster.connected(address, 1),
    ):
        pass
    return time.monotonic() - started


def test_an_address_where_nothing_answers_is_refused_at_once():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    assert refuses(f"127.0.0.1:{port}", ".*refused") < 10


def test_an_address_of_something_else_is_refused_within_seconds():
    with socket.socket() as mute:
        mute.bind(("127.0.0.1", 0))
        mute.listen()
        assert refuses(f"127.0.0.1:{mute.getsockname()[1]}", "what answers there is no Ray") < 20


@pytest.mark.parametrize("address", ["somewhere", "ray://127.0.0.1:10001", "127.0.0.1:port", ":1"])
def test_what_is_no_address_is_refused(address):
    refuses(address, "no host:port")


def test_no_cluster_on_this_machine_is_refused(monkeypatch):
    def absent(*args, **options):
        raise ConnectionError("Could not find any running Ray instance")

    monkeypatch.setattr(cluster.ray, "init", absent)
    refuses("auto", "Could not find")


def test_the_environment_names_the_address(monkeypatch):
    monkeypatch.setenv("RAY_ADDRESS", "nowhere")
    with pytest.raises(ValueError, match="'nowhere'"), cluster.connected(None, 1):
        pass


def nodes(*resources):
    return [{"Alive": number != 1, "Resources": each} for number, each in enumerate(resources)]


@pytest.mark.parametrize(
    ("resources", "threads", "fits", "takes"),
    [
        (({"CPU": 5.0}, {"CPU": 64.0}, {"CPU": 3.0}), 2, 3, {"num_cpus": 2}),
        (({"CPU": 5.0}, {}, {}), 8, 0, {"num_cpus": 8}),
        (({"CPU": 8.0, "GPU": 2.0}, {}, {"CPU": 9.0}), 2, 4, {"num_cpus": 2, "num_gpus": 0.5}),
        (({"CPU": 3.0, "GPU": 2.0}, {}, {"CPU": 9.0}), 1, 3, {"num_cpus": 1, "num_gpus": 0.5}),
    ],
)
def test_room_is_counted_machine_by_machine(monkeypatch, resources, threads, fits, takes):
    """The second machine is dead; with GPUs, two workers share each."""
    monkeypatch.setattr(cluster.ray, "nodes", lambda: nodes(*resources))
    assert cluster.room(threads, workers_per_gpu=2) == fits
    assert cluster.resources_of(threads, workers_per_gpu=2) == takes


@pytest.fixture
def _ray_starts():
    try:
        cluster.ray.init(num_cpus=1, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    except Exception as error:  # ports, memory or processes that a machine does not give it
        pytest.skip(f"Ray does not start on this machine: {error}")
    cluster.ray.shutdown()


@pytest.mark.usefixtures("_ray_starts")
def test_ray_of_our_own_ends_with_the_block():
    with cluster.connected(None, 3):
        assert cluster.ray.is_initialized()
        assert cluster.room(1, 1) >= 3
        assert cluster.is_local()
        with cluster.connected("whatever is there already", 1):
            pass
        assert cluster.ray.is_initialized()
    assert not cluster.ray.is_initialized()
