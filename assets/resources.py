"""What the assets use, one function an environment. Nothing here connects until an asset asks."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from checks.guard import Guard
from ml.clock import Clock, open_clock
from ml.dbt_output import DbtOutput, dbt_output
from ml.feature_views import FeatureView, load_feature_views
from ml.lake import Lake
from ml.loop_log import LoopLog
from ml.overrides import Overrides
from ml.publication import Publications
from ml.quarantine import Quarantine
from ml.settings import Settings
from ml.verdicts import Verdicts

if TYPE_CHECKING:
    import feast

    from ml.registry import Registry

_NEEDED_BY_PODS = {
    "HEADWATER_IMAGE": "training pods run it",
    "HEADWATER_NAMESPACE": "training pods run there",
    "HEADWATER_HOME_CLAIM": "training pods mount HEADWATER_HOME from it",
}

DBT_PROJECT = Path(__file__).parent.parent / "dbt_project"


@dataclass(frozen=True)
class Platform:
    """The parts of one environment, opened on first use. Cheap to make."""

    settings: Settings
    dbt_project: Path = DBT_PROJECT

    @property
    def clock(self) -> Clock:
        """The one source of now, real or replayed."""
        return open_clock(self.settings.clock_file)

    @cached_property
    def lake(self) -> Lake:
        """All Delta tables."""
        return Lake(self.settings.lake, self.settings.locks)

    @property
    def verdicts(self) -> Verdicts:
        """The audit table of checks."""
        return Verdicts(self.lake, self.clock)

    @property
    def publications(self) -> Publications:
        """The pointers to published tables."""
        return Publications(self.lake, self.clock)

    @property
    def overrides(self) -> Overrides:
        """Failed checks that a person let pass for a while."""
        return Overrides(self.lake, self.clock, self.settings.allow_overrides)

    @property
    def quarantine(self) -> Quarantine:
        """The failing rows of batches that did not pass."""
        return Quarantine(self.lake, self.clock)

    @property
    def loop_log(self) -> LoopLog:
        """What the loop did about models by itself."""
        return LoopLog(self.lake, self.clock)

    @property
    def guard(self) -> Guard:
        """The guard that every reader of another stage asks."""
        return Guard(self.lake, self.verdicts, self.publications, self.overrides)

    @cached_property
    def manifest(self) -> Path:
        """dbt's manifest, built by `make setup`."""
        return self.settings.dbt_target / "manifest.json"

    @cached_property
    def dbt_output(self) -> DbtOutput:
        """Where dbt builds. Raises LookupError if the setting names no output, ValueError if it cannot be read."""
        return dbt_output(self.dbt_project, self.settings.dbt_output)

    @property
    def warehouse(self) -> Path:
        """What dbt builds in."""
        return self.dbt_output.warehouse(self.settings)

    @cached_property
    def feature_views(self) -> tuple[FeatureView, ...]:
        """The feature views that dbt's YAML declares."""
        return load_feature_views(self.manifest)

    def feature_store(self, versions: Mapping[str, int]) -> "feast.FeatureStore":
        """Feast over exactly these versions of published tables, by view: the ones that the guard admitted."""
        from ml.feature_store import open_feature_store
        from ml.spark_session import spark_settings

        settings = self.settings
        on_spark = settings.offline_store == "spark"
        return open_feature_store(
            self.feature_views,
            lake=settings.lake,
            registry=settings.feast_registry,
            online_store=settings.online_store,
            clock_file=settings.clock_file,
            versions={v.name: versions[v.name] for v in self.feature_views if v.name in versions},
            memory_mb=settings.join_memory_mb,
            spark=spark_settings(settings.spark_home, settings.spark_conf) if on_spark else None,
        )

    @cached_property
    def registry(self) -> "Registry":
        """MLflow's tracking and registry."""
        from ml.registry import Registry

        return Registry(self.settings.tracking_uri, self.settings.artifacts, self.settings.artifact_cache)


def local(settings: Settings) -> Platform:
    """Everything embedded: Delta on disk, DuckDB, SQLite, the bundled Triton."""
    return Platform(settings)


def k8s(settings: Settings) -> Platform:
    """The same parts at scale: pods share the home, Redis, a tracking server and Triton's replicas.

    Raises LookupError that names each setting which is missing, or names what only one machine could use.
    """
    faults = [
        f"{variable} is not set: {why}" for variable, why in _NEEDED_BY_PODS.items() if not _of(settings, variable)
    ]
    if "://" not in settings.online_store:
        faults.append(
            "HEADWATER_ONLINE_STORE is a SQLite file, which pods on several nodes cannot share: name a "
            "redis://host:port/db"
        )
    if not settings.tracking_uri.startswith(("http://", "https://")):
        faults.append(
            "HEADWATER_TRACKING_URI is no http:// address: pods cannot share a file, and a database's password would "
            "stand on their command lines; name MLflow's server, such as http://mlflow:5000"
        )
    elif "@" in settings.tracking_uri:
        faults.append(
            "HEADWATER_TRACKING_URI holds a password, which pods' manifests would show: give MLFLOW_TRACKING_USERNAME "
            "and MLFLOW_TRACKING_PASSWORD in a Secret that HEADWATER_POD_SECRETS names"
        )
    if faults:
        raise LookupError("HEADWATER_ENV=k8s: " + "; ".join(faults))
    return Platform(settings)


def _of(settings: Settings, variable: str) -> str:
    return str(getattr(settings, variable.removeprefix("HEADWATER_").lower()))


ENVIRONMENTS = {"local": local, "k8s": k8s}


def platform_for(settings: Settings) -> Platform:
    """Return the parts of the environment that the settings name."""
    return ENVIRONMENTS[settings.env](settings)
