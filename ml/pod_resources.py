"""What the pods of a training run ask of a Kubernetes cluster, declared with the model.

Here: declarations of amounts and places, and their arithmetic. Not here: manifests (assets/training_pod.py). Nothing of
it decides what is learned: it is part of no recipe, no hash and no file of the spec.
"""

import re
from collections.abc import Mapping
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from ml.frozen import Frozen

_QUANTITY = r"^(\d+|\d+\.\d+)(m|[kMGTP]i?)?$"
_POWERS = {"k": 1, "M": 2, "G": 3, "T": 4, "P": 5}

Quantity = Annotated[str, Field(pattern=_QUANTITY)]


class Toleration(Frozen):
    """A taint of nodes that the pods bear, as Kubernetes spells it; an empty effect is any."""

    key: str
    operator: Literal["Exists", "Equal"] = "Exists"
    value: str = ""
    effect: Literal["", "NoSchedule", "PreferNoSchedule", "NoExecute"] = ""

    @model_validator(mode="after")
    def _value_fits(self) -> Self:
        if bool(self.value) != (self.operator == "Equal"):
            raise ValueError(f"toleration of {self.key!r}: a value goes with the operator Equal, and only with it")
        return self


class PodResources(Frozen):
    """What one pod gets (as request and limit) and how many there are; each GPU has a process, a pod at least one."""

    gpus: int = Field(0, ge=0, strict=True, description="Whole GPUs a pod; 0: trained on CPUs.")
    gpu_resource: str = Field("nvidia.com/gpu", description="The device plugin's name for a GPU.")
    cpu: Quantity = Field("2", description="CPUs a pod.")
    memory: Quantity = Field("8Gi", description="Memory a pod; /dev/shm counts towards it.")
    shared_memory: Quantity = Field("1Gi", description="Size of /dev/shm, through which processes of a pod talk.")
    pods: int = Field(1, ge=1, strict=True, description="Pods that train together, on as many nodes if need be.")
    node_selector: Mapping[str, str] = Field({}, description="Labels that a node must have.")
    tolerations: tuple[Toleration, ...] = ()
    priority_class: str = Field("", description="PriorityClass; empty: the cluster's default.")
    restarts: int = Field(
        3,
        ge=0,
        description="How often a pod that was evicted or lost is started again, from its checkpoint.",
    )
    pending_minutes: float = Field(
        30.0, gt=0, description="How long a pod may wait for a node: as long as the cluster takes to add one, or more."
    )

    @model_validator(mode="after")
    def _amounts(self) -> Self:
        if min(amount(self.cpu), amount(self.memory)) <= 0:
            raise ValueError(f"a pod of {self.cpu} CPUs and {self.memory} memory cannot run; name more than 0")
        if amount(self.shared_memory) >= amount(self.memory):
            raise ValueError(
                f"shared_memory {self.shared_memory} counts towards memory {self.memory} and must be less than it"
            )
        return self

    def __hash__(self) -> int:
        """A mapping has none of its own."""
        return hash(self.model_dump_json())

    def __str__(self) -> str:
        """Say it in one line."""
        gpus = f"{self.gpus} x {self.gpu_resource}, " if self.gpus else ""
        each = f"{gpus}{self.cpu} CPUs, {self.memory} memory, {self.shared_memory} shared memory"
        return each if self.pods == 1 else f"{self.pods} pods of {each} each"

    @property
    def processes(self) -> int:
        """Processes a pod: one a GPU, else one."""
        return max(self.gpus, 1)

    @property
    def alone(self) -> bool:
        """Whether one process trains."""
        return self.pods * self.processes == 1

    @property
    def threads(self) -> int:
        """Threads a process, so that all of a pod keep to its CPUs."""
        return max(int(amount(self.cpu)) // self.processes, 1)


def amount(quantity: str) -> float:
    """Return what a quantity such as 500m, 2 or 8Gi amounts to. Raises ValueError if it is none."""
    found = re.match(_QUANTITY, quantity)
    if not found:
        raise ValueError(f"{quantity!r} is no quantity of Kubernetes; write it like 500m, 2 or 8Gi")
    number, unit = float(found[1]), found[2] or ""
    if unit == "m":
        return number / 1000
    return number * (1024.0 if unit.endswith("i") else 1000.0) ** _POWERS.get(unit[:1], 0)


def doubled(quantity: str) -> str:
    """Return twice the quantity, in its unit."""
    found = re.match(_QUANTITY, quantity)
    if not found:
        raise ValueError(f"{quantity!r} is no quantity of Kubernetes; write it like 500m, 2 or 8Gi")
    return f"{float(found[1]) * 2:g}{found[2] or ''}"
