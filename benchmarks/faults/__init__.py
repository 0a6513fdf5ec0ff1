"""Corruptions of the real data, by kind: what the gates are tried on. Nothing in the platform imports them."""

from benchmarks.faults import files, keys, references, relations, schema, text, times, values, volume, weather
from benchmarks.faults.fault import Batch, Fault, spoiled

FAULTS: tuple[Fault, ...] = tuple(
    fault
    for kind in (schema, values, times, volume, keys, text, files, relations, weather, references)
    for fault in kind.FAULTS
)

__all__ = ["FAULTS", "Batch", "Fault", "fault_named", "spoiled"]


def fault_named(name: str) -> Fault:
    """Return the fault of that name. Raises LookupError if there is none."""
    for fault in FAULTS:
        if fault.name == name:
            return fault
    raise LookupError(f"no fault {name!r}; benchmarks/faults has: {', '.join(fault.name for fault in FAULTS)}")
