"""Which device a model is fitted on, and what the machine is, for the record."""

import os
import platform
from typing import Literal

import torch

Device = Literal["auto", "cpu", "cuda"]


def choose_device(wanted: Device) -> torch.device:
    """Return the device: auto is CUDA where there is one. Raises LookupError if CUDA is wanted and absent."""
    if wanted == "cpu" or (wanted == "auto" and not torch.cuda.is_available()):
        return torch.device("cpu")
    if not torch.cuda.is_available():
        raise LookupError("no CUDA device is visible to torch; use --device cpu, or a machine with a GPU")
    return torch.device("cuda")


def hardware(device: torch.device) -> str:
    """Return one line on what computes: the GPU's name, or machine, usable cores and threads."""
    if device.type == "cuda":
        return f"{torch.cuda.get_device_name(device)}, torch {torch.__version__}"
    cores, threads = len(os.sched_getaffinity(0)), torch.get_num_threads()
    return f"{platform.machine()} CPU, {cores} cores, {threads} threads, torch {torch.__version__}"
