"""What Linux says of a process under /proc. Standard library only, and starts nothing: routers use it, too."""

from pathlib import Path


def stat_of(pid: int) -> list[str]:
    """Return the fields of /proc/<pid>/stat from the state on: state, parent, group, ..., start time at index 19."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []


def started(pid: int) -> int | None:
    """Return when a process started, in ticks since boot; None if it is gone, or a zombie."""
    fields = stat_of(pid)
    return int(fields[19]) if fields and fields[0] != "Z" else None


def ended(pid: int) -> bool:
    """Whether a process is gone, or killed and only not reaped by its parent."""
    return started(pid) is None
