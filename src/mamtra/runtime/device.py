"""Choice of the torch device."""

from __future__ import annotations

import torch

from mamtra.errors import MamTraError


def pick_device(name: str | torch.device | None = None) -> torch.device:
    """Find a device by name and check that it is available.

    Args:
        name: `None` or `"auto"` takes CUDA where there is one, else the CPU; otherwise anything `torch.device` reads.

    Raises:
        MamTraError: the name is unknown or the device is not there.
    """
    if name is None or name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise MamTraError(f"There is no device {name!r}; use cpu, cuda, cuda:N or mps.") from error
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise MamTraError(f"Device {name!r} is not available here ({torch.cuda.device_count()} CUDA devices found).")
    if device.type == "mps" and not torch.backends.mps.is_available():
        raise MamTraError("Device 'mps' is not available here; use cpu.")
    return device


def to_device(tensor: torch.Tensor, device: torch.device) -> torch.Tensor:
    """The tensor on a device; from the host to a GPU it is copied in the order of the stream, and the host goes on."""
    if device.type == "cuda" and tensor.device.type == "cpu":
        return tensor.pin_memory().to(device, non_blocking=True)
    return tensor.to(device)


def describe_devices() -> list[str]:
    """Names of the devices torch can use here, the one chosen by default first."""
    cuda = [f"cuda:{i} ({torch.cuda.get_device_name(i)})" for i in range(torch.cuda.device_count())]
    mps = ["mps"] if torch.backends.mps.is_available() else []
    return [*cuda, f"cpu ({torch.get_num_threads()} threads)", *mps]
