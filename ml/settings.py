"""Every setting of Headwater, read once from the environment (prefix HEADWATER_) and nowhere else but in `remedies`."""

from pathlib import Path
from typing import Literal, Self

from pydantic import Field, field_validator
from pydantic_settings import SettingsConfigDict

from ml.alert_settings import AlertSettings
from ml.pod_settings import PodSettings
from ml.store_settings import StoreSettings, embedded
from ml.triton_settings import TritonSettings


class Settings(AlertSettings, PodSettings, TritonSettings, StoreSettings):
    """Settings, from HEADWATER_* environment variables; unset ones take the defaults below."""

    model_config = SettingsConfigDict(
        env_prefix="HEADWATER_",
        extra="ignore",
        frozen=True,
        validate_default=True,
        hide_input_in_errors=True,  # an address may hold a password
    )

    env: Literal["local", "k8s"] = Field("local", description="Environment; k8s: runs as Jobs, training in pods.")
    otlp_endpoint: str = Field(
        "",
        description="Where traces of requests go, an OTLP receiver over HTTP such as http://127.0.0.1:4318; unset: no "
        "traces. Read when Triton starts.",
    )
    ui_port: int = Field(3000, description="Port of the Dagster UI.")
    reports_port: int = Field(
        3001, description="Port of the pages that the Dagster UI links to: reports, documentation, columns, notebooks."
    )
    mlflow_port: int = Field(5000, description="Port of the MLflow page.")
    offline_store: Literal["polars", "spark"] = Field(
        "polars", description="What joins features to rows: polars in this process, or Feast's Spark store."
    )
    dbt_output: str = Field(
        "local", description="Where dbt builds: an output of dbt_project/profiles.yml, local (DuckDB) or spark."
    )
    join_memory_mb: float | None = Field(
        None, gt=0, description="Feature history that a polars join holds at a time, in MiB; unset: a month of a view."
    )
    spark_conf: dict[str, str] = Field(
        {},
        description='Spark\'s settings as JSON, over those of local mode, such as {"spark.master": "spark://host:7077"}.',
    )
    allow_overrides: bool = Field(
        False,
        description="Whether a person may let a failed check pass for a while; asked when an override is granted and "
        "again at every gate.",
    )
    train_seconds: float = Field(
        3600.0,
        gt=0,
        description="Bound on the fitting time of one model over all tries, in seconds; the log says if it cuts.",
    )
    train_memory_mb: float | None = Field(
        None,
        gt=0,
        description="Memory that encoded training rows may take, in MiB; rows that do not fit are trained on from "
        "disk; unset: what is free.",
    )
    score_memory_mb: float = Field(
        512.0,
        gt=0,
        description="Memory for rows that batch inference joins and scores at a time, in MiB; no score depends on it.",
    )

    keep_staged_days: float = Field(
        30.0, ge=0, description="Days that replaced raw, feature and score versions, failed batches too, are kept."
    )
    keep_published_days: float = Field(90.0, ge=0, description="Days that replaced published versions are kept.")
    keep_rollbacks: int = Field(3, ge=0, description="Published versions kept for rollback, however old.")
    keep_training_sets_days: float = Field(
        90.0, ge=0, description="Days that replaced training sets, and profiles that no drift check used, are kept."
    )
    keep_logs_days: float = Field(
        30.0,
        ge=0,
        description="Days that tools' logs, dbt's builds, landed prediction logs and reports are kept.",
    )
    keep_runs_days: float = Field(
        90.0, ge=0, description="Days that Dagster runs and unregistered MLflow runs are kept."
    )
    vacuum_grace_hours: int = Field(
        24, ge=0, description="Hours in which nothing new is removed; longer than any run takes."
    )

    @field_validator(
        "home",
        "serving_volume",
        "triton_scratch",
        "triton_root",
        "serving_python",
        "serving_tls_cert",
        "serving_tls_key",
        "serving_tls_client_ca",
        "serving_ca",
        "serving_client_cert",
        "serving_client_key",
        "serving_token_file",
    )
    @classmethod
    def _absolute(cls, path: Path | None) -> Path | None:
        """Fix relative paths where the process starts: tools change folders later. Links are kept."""
        return path and path.absolute()

    @property
    def registry_variables(self) -> dict[str, str]:
        """The environment by which a child process finds the registry: arguments, anybody may list."""
        return {"HEADWATER_TRACKING_URI": self.tracking_uri, "HEADWATER_ARTIFACTS": self.artifacts}

    @property
    def artifact_cache(self) -> Path:
        """Files of MLflow's that are kept elsewhere, as last downloaded."""
        return self.root / "mlflow" / "cache"

    @property
    def root(self) -> Path:
        """The state folder as an absolute path."""
        return self.home

    @property
    def locks(self) -> Path:
        """Lock files of a lake's tables on an object store; a local lake holds its own."""
        return self.root / "locks"

    @property
    def warehouse(self) -> Path:
        """The DuckDB file in which dbt builds, unless its output is on Spark."""
        return self.root / "warehouse.duckdb"

    @property
    def dbt_target(self) -> Path:
        """dbt's target folder: manifest, compiled SQL and run results."""
        return self.root / "dbt"

    @property
    def feast_registry(self) -> Path:
        """Feast's registry file."""
        return self.root / "feast" / "registry.db"

    @property
    def spark_home(self) -> Path:
        """Spark's scratch files in local mode."""
        return self.root / "spark"

    @property
    def clock_file(self) -> Path:
        """Present only while time is replayed: the instant at which everything lives."""
        return self.root / "clock.json"

    @property
    def reports(self) -> Path:
        """Pages of drift checks."""
        return self.root / "reports"

    @property
    def profiles(self) -> Path:
        """Kept profiles of published months and training sets, which drift checks compare."""
        return self.root / "profiles"

    @property
    def evidently(self) -> Path:
        """Evidently's workspace: a project a model, a snapshot a window of answers. Nothing removes them by age."""
        return self.root / "evidently"

    @property
    def serving_home(self) -> Path:
        """Triton's model repository, artifacts and prediction log."""
        return self.serving_volume or self.root / "serving"

    @property
    def triton_state(self) -> Path:
        """Process files and log of the Triton on this machine."""
        return self.triton_scratch or self.serving_home / "server"

    def embedded_in(self, home: Path, **more: object) -> Self:
        """Return the settings of another home, with all state in it and a Triton of its own; `more` differ."""
        home = home.absolute()
        own: dict[str, object] = {"home": home, **embedded(home), "triton_address": "127.0.0.1"}
        shared = {"serving_volume": None, "triton_scratch": None, "triton_url": "", "triton_replicas": ""}
        return self.model_copy(update={**own, **shared, **more})

    @property
    def alerts_home(self) -> Path:
        """What each sink of alerts has been told."""
        return self.root / "alerts"

    @property
    def alerts_log(self) -> Path | None:
        """The file that alerts are written to, None if it is off."""
        if self.alerts_file == "off":
            return None
        return Path(self.alerts_file) if self.alerts_file else self.root / "logs" / "alerts.jsonl"

    @property
    def ui_address(self) -> str:
        """Where people open the Dagster UI."""
        return self.ui_url.rstrip("/") or f"http://127.0.0.1:{self.ui_port}"

    @property
    def dagster_home(self) -> Path:
        """DAGSTER_HOME."""
        return self.root / "dagster"
