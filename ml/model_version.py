"""A registered version of a model: its number, run and metrics, and what its tags say it was made from.

Finding versions and changing them is in `registry`.
"""

import json
from dataclasses import dataclass

TRAINING_SET_VERSION = "training_set_version"  # tag of a version: the Delta version it learned from
RECIPE = "recipe"  # tag of a version: what decided what it learned, but for the rows (ModelSpec.recipe)
THRESHOLD_TAG = "decision_threshold"  # tag of a version: the probability from which to act
PROVENANCE = "training_set_provenance"  # tag of a version: what its training set was made from, as JSON


@dataclass(frozen=True)
class ModelVersion:
    """A registered version: number, run, that run's last metrics, and the tags and aliases it bears."""

    name: str
    version: str
    run_id: str
    tags: dict[str, str]
    metrics: dict[str, float]
    aliases: tuple[str, ...]

    @property
    def training_set_version(self) -> int:
        """The Delta version of the training set that it learned from. Raises LookupError if unrecorded."""
        if TRAINING_SET_VERSION not in self.tags:
            raise LookupError(
                f"version {self.version} of model {self.name!r} bears no tag {TRAINING_SET_VERSION!r}; "
                "register versions through ml.train"
            )
        return int(self.tags[TRAINING_SET_VERSION])

    @property
    def threshold(self) -> float | None:
        """The probability from which one acts by the costs in its spec; None if it has none."""
        told = self.tags.get(THRESHOLD_TAG, "")
        return float(told) if told else None

    @property
    def source_tables(self) -> tuple[str, ...]:
        """The published tables that its training set was made from. Raises LookupError if unrecorded."""
        sources = json.loads(self.tags.get(PROVENANCE, "{}")).get("sources")
        if sources is None:
            raise LookupError(
                f"version {self.version} of model {self.name!r} does not say in its tag {PROVENANCE!r} which tables "
                "it learned from; register versions through ml.train, or take its alias away"
            )
        return tuple(sources)
