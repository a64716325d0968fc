"""What the machine of a rank is doing: memory, processors, network, and the GPU where there is one.

Belongs here: sampling psutil and NVML, and the peak arithmetic of known GPUs. What the training makes of it (tokens/s,
MFU) is `meter`.
"""

import os
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

PEAK_FLOPS: Mapping[str, float] = MappingProxyType(
    {
        "B200": 2250e12,
        "H200": 989e12,
        "H100 PCIE": 756e12,
        "H100": 989e12,
        "A100": 312e12,
        "L40S": 362e12,
        "L4": 121e12,
    }
)
"""Dense bf16 FLOP/s by a part of the GPU's name, NVIDIA's data sheets; the first that fits counts."""


class Hardware:
    """Samples this process and its machine; what is counted (network, processor time) counts from the sample before."""

    def __init__(self, *, nvml: Any = None) -> None:
        """Start counting.

        Args:
            nvml: The module `pynvml`, or what stands for it; imported by default.
        """
        import psutil

        self._psutil = psutil
        self._process = psutil.Process()
        self._process.cpu_percent()  # the first call only starts the count
        psutil.cpu_percent()
        self._network = _network(psutil)
        self._gpu = _open_gpu(nvml)

    @property
    def gpu_name(self) -> str | None:
        """Name of this rank's GPU, None on a CPU."""
        return None if self._gpu is None else _text(self._gpu[0].nvmlDeviceGetName(self._gpu[1]))

    def sample(self) -> dict[str, float]:
        """Bytes, percent (a process on two cores may use 200), and bytes over all interfaces since the last sample."""
        memory, network = self._psutil.virtual_memory(), _network(self._psutil)
        found = {
            "process_memory_bytes": float(self._process.memory_info().rss),
            "process_cpu_percent": self._process.cpu_percent(),
            "host_memory_bytes": float(memory.total - memory.available),
            "host_memory_percent": float(memory.percent),
            "host_cpu_percent": self._psutil.cpu_percent(),
            "network_sent_bytes": float(network[0] - self._network[0]),
            "network_received_bytes": float(network[1] - self._network[1]),
        }
        self._network = network
        if self._gpu is not None:
            nvml, handle = self._gpu
            found["gpu_utilisation_percent"] = float(nvml.nvmlDeviceGetUtilizationRates(handle).gpu)
            found["gpu_memory_bytes"] = float(nvml.nvmlDeviceGetMemoryInfo(handle).used)
        return found


def peak_flops(gpu_name: str | None) -> float | None:
    """Dense bf16 FLOP/s of a GPU by its name; None where it is unknown, and on a CPU."""
    name = (gpu_name or "").upper()
    return next((peak for part, peak in PEAK_FLOPS.items() if all(word in name for word in part.split())), None)


def _network(psutil: Any) -> tuple[int, int]:
    counted = psutil.net_io_counters()
    return (0, 0) if counted is None else (counted.bytes_sent, counted.bytes_recv)


def _open_gpu(nvml: Any) -> tuple[Any, Any] | None:
    """NVML and the handle of this rank's GPU, as CUDA_VISIBLE_DEVICES and LOCAL_RANK say it."""
    if nvml is None:
        import pynvml as nvml
    try:
        nvml.nvmlInit()
    except nvml.NVMLError:  # no driver: a CPU
        return None
    place = int(os.environ.get("LOCAL_RANK", "0"))
    visible = [name.strip() for name in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if name.strip()]
    device = visible[place] if place < len(visible) else str(place)
    try:
        handle = (
            nvml.nvmlDeviceGetHandleByIndex(int(device))
            if device.isdigit()
            else nvml.nvmlDeviceGetHandleByUUID(device.encode())
        )
    except nvml.NVMLError:  # fewer GPUs than ranks
        return None
    return nvml, handle


def _text(value: str | bytes) -> str:
    return value.decode() if isinstance(value, bytes) else value
