"""The cluster of Ray that jobs run on: connects to it, or starts one of this machine's cores."""

import contextlib
import importlib
import importlib.util
import logging
import os
import platform
import socket
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

from kerasticket.experiments.executors.threads import cores

ray: Any = importlib.import_module("ray") if importlib.util.find_spec("ray") else None
SECONDS = 8.0  # for an address to answer; Ray itself waits for minutes, then ends the process


def check_installed() -> None:
    """Raises ValueError where Ray is missing."""
    if ray is None:
        raise ValueError(
            "Expected Ray for the executor 'ray'. Received: it is not installed. pip install kerasticket[ray]"
        )


@contextlib.contextmanager
def connected(address: str | None, cpus: int) -> Iterator[None]:
    """Ray as this process has it already, else that of an address, else one of our own, which ends with the block.

    Args:
        address: of a cluster that this machine is part of, as "host:port", or "auto"; None: `RAY_ADDRESS` of the
            environment, else a Ray of our own on this machine.
        cpus: that one of our own lets workers use at least, in units of Ray, whatever cores there are.

    Raises:
        ValueError: nothing answers there, or this machine is not part of the cluster.
    """
    if ray.is_initialized():
        yield
        return
    address = address or os.environ.get("RAY_ADDRESS") or "local"
    quiet = {"log_to_driver": False, "logging_level": logging.ERROR}
    if address == "local":
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        ray.init("local", num_cpus=max(cpus, cores()), include_dashboard=False, **quiet)
    else:
        _check_answers(address)
        try:
            ray.init(address, **quiet)
        except (ConnectionError, RuntimeError, ValueError) as error:
            raise _refusal(address, str(error)) from error
    try:
        yield
    finally:
        ray.shutdown()


def _check_answers(address: str) -> None:
    """Raises ValueError unless a cluster of Ray is at the address; in another process, as what hangs is ended there."""
    if address == "auto":
        return  # Ray then looks on this machine alone, and says at once if there is none
    host, _, port = address.rpartition(":")
    if not host or "/" in host or not port.isdigit():
        raise _refusal(address, "no host:port")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=SECONDS).close()
        command = [sys.executable, "-m", "ray.scripts.scripts", "health-check", "--address", address]
        subprocess.run(command, timeout=SECONDS, check=True, capture_output=True)
    except (OSError, OverflowError) as error:
        raise _refusal(address, str(error)) from error
    except subprocess.SubprocessError as error:
        raise _refusal(address, "what answers there is no Ray, or another version of it") from error


def _refusal(address: str, why: str) -> ValueError:
    return ValueError(
        f"Expected --address of a Ray cluster that this machine is part of. Received: '{address}': {why}. Start one "
        "with `ray start --head`, join it with `ray start --address=HOST:PORT` on each machine, and run this command "
        "on one of them; without --address, Ray is started on this machine alone."
    )


def resources_of(threads: int, workers_per_gpu: int) -> dict[str, float]:
    """What a worker takes of a node: cores, and a share of a GPU if the cluster has any."""
    gpus = any(node["Resources"].get("GPU") for node in _nodes())
    return {"num_cpus": threads} | ({"num_gpus": 1 / workers_per_gpu} if gpus else {})


def room(threads: int, workers_per_gpu: int) -> int:
    """How many workers fit on the nodes of the cluster, if nobody else works there."""
    gpus = "num_gpus" in resources_of(threads, workers_per_gpu)
    fits = 0
    for node in (node["Resources"] for node in _nodes()):
        by_cpu, by_gpu = node.get("CPU", 0) // threads, node.get("GPU", 0) * workers_per_gpu
        fits += int(min(by_cpu, by_gpu) if gpus else by_cpu)
    return fits


def is_local() -> bool:
    """Whether this machine is the only one."""
    return {node["NodeManagerHostname"] for node in _nodes()} == {platform.node()}


def _nodes() -> list[dict[str, Any]]:
    return [node for node in ray.nodes() if node["Alive"]]
