"""The workers that a process belongs to, from its environment."""

from __future__ import annotations

import itertools
import json
import re
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from gpt_tf.errors import UsageError
from gpt_tf.runs.slurm import step_of
from gpt_tf.storage.atomic import unrepeated
from gpt_tf.storage.plain import open_plain

TF_CONFIG, SECRET_FILE = "TF_CONFIG", "GPT_TF_SECRET_FILE"
WATCH_PORT, LAUNCH = "GPT_TF_WATCH_PORT", "GPT_TF_LAUNCH"
MOST_CHARACTERS = 64 * 1024
LAST_PORT = 65535
HOST = re.compile(r"\w[\w.-]*")
SECRET_BYTES = range(16, 4097)
EXAMPLE = (
    '{"cluster": {"worker": ["host0:4700", "host1:4700"]}, "task": {"type": "worker", "index": 0}}'
)


class Cluster(NamedTuple):
    """Where all workers are, and which of them this process is.

    Attributes:
      addresses: "host:port" of every worker, for TensorFlow; the first is the chief.
      rank: of this one.
      watch: host and port of the chief's watch.
      secret: what all workers know.
      launch: the id of the launch; empty if there is none.
      source: of all this, for messages.
    """

    addresses: tuple[str, ...]
    rank: int
    watch: tuple[str, int]
    secret: bytes
    launch: str
    source: str

    def __repr__(self) -> str:
        return f"Cluster({self.addresses}, rank={self.rank}, source={self.source!r})"


def cluster_of(environment: Mapping[str, str]) -> Cluster | None:
    """The workers that this process belongs to; None if it is alone.

    `TF_CONFIG` names them, or else the step of Slurm that this process is a task of.

    Raises:
      UsageError: if the environment names workers, and something is wrong or missing.
    """
    config, launch = environment.get(TF_CONFIG, ""), ""
    if config.strip():
        addresses, rank = _workers(config)
        port, source = _port_beside(addresses), TF_CONFIG
    elif step := step_of(environment):
        addresses, rank, port, launch = step
        source = f"Slurm step {step.name}"
    else:
        return None
    if len(addresses) < 2:
        return None
    if given := environment.get(WATCH_PORT, ""):
        port = _given_port(given, addresses)
    elif port > LAST_PORT:
        raise UsageError(
            f"no port for the watch above that of {addresses[0]} in {source}. Name one in "
            f"{WATCH_PORT}."
        )
    return Cluster(
        addresses,
        rank,
        (addresses[0].rpartition(":")[0].strip("[]"), port),
        _secret(environment.get(SECRET_FILE, ""), source),
        environment.get(LAUNCH, "") or launch,
        source,
    )


def _workers(text: str) -> tuple[tuple[str, ...], int]:
    """The addresses, and the rank of this worker."""

    def wrong(what: str) -> UsageError:
        return UsageError(f"{what} in {TF_CONFIG}. Write it like {EXAMPLE}.")

    if len(text) > MOST_CHARACTERS:
        raise wrong(f"{len(text):,} characters")
    try:
        found: Any = json.loads(text, object_pairs_hook=unrepeated)
        cluster, task = found["cluster"], found["task"]
        chief, workers = list(cluster.get("chief", [])), list(cluster.get("worker", []))
        kind, index = task["type"], task["index"]
        others = sorted({*cluster, kind} - {"chief", "worker"})
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise wrong(f"no cluster and task ({type(error).__name__}: {error})") from None
    if others:
        raise wrong(f"an unknown type of task: {others[0]!r}")
    addresses = [*chief, *workers]
    for address in addresses:
        if not isinstance(address, str) or not _is_address(address):
            raise wrong(f"not a host:port address: {address!r}")
        if addresses.count(address) > 1:
            raise wrong(f"the address {address} twice")
    there = len(chief) if kind == "chief" else len(workers)
    if len(chief) > 1 or isinstance(index, bool) or not isinstance(index, int):
        raise wrong("more than one chief" if len(chief) > 1 else f"no index of a task: {index!r}")
    if not 0 <= index < there:
        raise wrong(f"no {kind} {index} of {there}")
    return tuple(addresses), index + (len(chief) if kind == "worker" else 0)


def _port_beside(addresses: tuple[str, ...]) -> int:
    """The next port above the chief's that no worker of its host has."""
    host, _, port = addresses[0].rpartition(":")
    return next(one for one in itertools.count(int(port) + 1) if f"{host}:{one}" not in addresses)


def _given_port(text: str, addresses: tuple[str, ...]) -> int:
    if not _is_port(text):
        raise UsageError(f"no port in {WATCH_PORT}: {text!r}. Use a number below 65536.")
    address = f"{addresses[0].rpartition(':')[0]}:{int(text)}"
    if address in addresses:
        raise UsageError(
            f"the port of worker {addresses.index(address)} in {WATCH_PORT}: {text}. Use another."
        )
    return int(text)


def _is_address(address: str) -> bool:
    host, _, port = address.rpartition(":")
    is_ipv6 = host.startswith("[") and host.endswith("]")
    return _is_port(port) and (is_ipv6 or HOST.fullmatch(host) is not None)


def _is_port(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= 5 and 0 < int(text) <= LAST_PORT


def _secret(name: str, source: str) -> bytes:
    """The bytes of the file that proves a worker to the others."""
    remedy = (
        "Make it with `(umask 077; head -c 32 /dev/urandom > secret)`, give all workers the same, "
        f"and name it in {SECRET_FILE}."
    )
    if not name:
        raise UsageError(
            f"no {SECRET_FILE}: several workers ({source}) need a secret file. {remedy} "
            "Or add --alone to `gpt-tf train`."
        )
    try:
        with open_plain(Path(name)) as file:
            mode = stat.S_IMODE(Path(name).stat().st_mode)
            secret = file.read(SECRET_BYTES.stop)
    except OSError as error:
        raise UsageError(f"cannot read {SECRET_FILE} {name}: {error.strerror}. {remedy}") from None
    if mode & 0o077:
        raise UsageError(f"others may read {SECRET_FILE} {name}. Type `chmod 600 {name}`.")
    if len(secret) not in SECRET_BYTES:
        raise UsageError(f"{SECRET_FILE} {name} must have 16 to 4,096 bytes. {remedy}")
    return secret
