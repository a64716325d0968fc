"""The command lines of a training program: DeepSpeed's launcher on one machine or on hosts, or plain torch ranks.

Belongs here: choosing between them, arguments and environment. Running them is `processes`, deciding what happens when
they fail is `trainer`; what the program does is the stage's own.
"""

import base64
import json
import os
import shutil
import socket
import sys
from pathlib import Path
from typing import Any, Literal

from sap_llm.schema.errors import ConfigurationError, MissingToolError
from sap_llm.training.config import LaunchConfig
from sap_llm.training.plan import PLAN, TrainingPlan

Backend = Literal["deepspeed", "gloo"]
Command = tuple[list[str], dict[str, str]]  # and what its environment has besides ours
_MASTER_PORT = 29500


def choose_backend(config: LaunchConfig) -> tuple[Backend, str]:
    """Which backend runs, and the reason as a sentence part.

    Raises:
        MissingToolError: DeepSpeed was demanded and there is no C++ compiler for its ops.
    """
    if config.launcher == "gloo":
        return "gloo", "as configured"
    compiler = shutil.which(os.environ.get("CXX", "g++")) or shutil.which("c++")
    if compiler and shutil.which("ninja", path=_path()):
        return "deepspeed", f"compiler {compiler}"
    what = "no C++ compiler" if not compiler else "no ninja"
    if config.launcher == "deepspeed":
        raise MissingToolError(
            f"{what}, which DeepSpeed needs to build its operations",
            where="training.launch",
            remedy="Install g++ (apt install g++), or set launch.launcher to auto or gloo.",
        )
    return "gloo", f"{what}, so torch.distributed on gloo instead of DeepSpeed"


def commands(plan: TrainingPlan[Any]) -> list[Command]:
    """Every process to start on this machine: one for DeepSpeed, one per rank for plain torch."""
    launch = plan.config.launch
    port = str(free_port())
    program = program_arguments(plan)
    shared = environment_of(launch)
    if plan.backend == "deepspeed":
        world = base64.urlsafe_b64encode(json.dumps({"localhost": list(range(launch.ranks))}).encode()).decode()
        # the node launcher itself: the `deepspeed` script would only look for a host file and start it (6 s of imports)
        launcher = [sys.executable, "-m", "deepspeed.launcher.launch", f"--world_info={world}"]
        launcher += ["--master_addr=127.0.0.1", f"--master_port={port}", "--module"]
        return [(launcher + program, shared)]
    master = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "WORLD_SIZE": str(launch.ranks)}
    command = [sys.executable, "-m", *program]
    return [(command, shared | master | {"RANK": str(rank), "LOCAL_RANK": str(rank)}) for rank in range(launch.ranks)]


def hosts_command(plan: TrainingPlan[Any], hostfile: Path) -> Command:
    """DeepSpeed's launcher over all hosts of a host file (`name slots=8` a line), by pdsh from the first one.

    The hosts need this environment at the same path and the work folder on a disk that they share.

    Raises:
        ConfigurationError: The ranks do not fill whole hosts of equal slots.
    """
    launch = plan.config.launch
    slots = read_hostfile(hostfile)
    each = next(iter(slots.values()))
    nodes, rest = divmod(launch.ranks, each)
    if rest or not 0 < nodes <= len(slots) or set(slots.values()) != {each}:
        raise ConfigurationError(
            f"launch.ranks is {launch.ranks}, and the hosts have {list(slots.values())} slots",
            where=str(hostfile),
            remedy="Give every host the same slots, and launch.ranks a multiple of them.",
        )
    command = [sys.executable, "-m", "deepspeed.launcher.runner", f"--hostfile={hostfile}", f"--num_nodes={nodes}"]
    command += [f"--num_gpus={each}", "--launcher=pdsh", f"--master_addr={next(iter(slots))}"]
    command += [f"--master_port={_MASTER_PORT}", "--module", *program_arguments(plan)]
    return command, environment_of(launch)


def read_hostfile(path: Path) -> dict[str, int]:
    """Host -> slots, in order.

    Raises:
        ConfigurationError: The file is missing, empty, or has a line of another form.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        lines = []
    slots: dict[str, int] = {}
    for line in (line.strip() for line in lines):
        if not line or line.startswith("#"):
            continue
        name, _, count = line.partition(" slots=")
        if not count.strip().isdigit() or name.strip() in slots:
            raise ConfigurationError(f"not a host: {line!r}", where=str(path), remedy="Write `node-1 slots=8` a line.")
        slots[name.strip()] = int(count)
    if not slots:
        raise ConfigurationError("no host file, or no host in it", where=str(path), remedy="See trainer.hostfile.")
    return slots


def program_arguments(plan: TrainingPlan[Any]) -> list[str]:
    """Module and arguments of a rank, the same however it is started."""
    return [plan.program, "--plan", str(Path(plan.work) / PLAN)]


def environment_of(launch: LaunchConfig) -> dict[str, str]:
    """Variables that every rank needs, wherever it runs."""
    return {
        "OMP_NUM_THREADS": str(launch.threads),
        "DS_ACCELERATOR": launch.accelerator,
        "PYTHONUNBUFFERED": "1",
        "PATH": _path(),
    }


def _path() -> str:
    """PATH with this interpreter's scripts first: ninja comes with the environment."""
    return f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}"


def free_port() -> int:
    """A port of this machine that nobody listens on just now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
