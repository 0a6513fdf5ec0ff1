"""Every setting of Headwater, read once from the environment (prefix HEADWATER_) and nowhere else."""

from pathlib import Path
from typing import Literal, Self

from pydantic import Field, ValidationInfo, field_validator
from pydantic_settings import SettingsConfigDict

from ml.alert_settings import AlertSettings
from ml.secret_address import require_plain, shown

_POSTGRES = ("postgresql://", "postgresql+psycopg2://")


def _embedded(home: Path) -> dict[str, str]:
    """Return the stores that a home holds itself."""
    return {
        "online_store": str(home / "online.db"),
        "tracking_uri": f"sqlite:///{home / 'mlflow' / 'mlflow.db'}",
        "artifacts": str(home / "mlflow" / "artifacts"),
        "dagster_db": "",
    }


class Settings(AlertSettings):
    """Settings, from HEADWATER_* environment variables; unset ones take the defaults below."""

    model_config = SettingsConfigDict(
        env_prefix="HEADWATER_",
        extra="ignore",
        frozen=True,
        validate_default=True,
        hide_input_in_errors=True,  # an address may hold a password
    )

    env: Literal["local", "k8s"] = Field("local", description="Environment: local or k8s.")
    home: Path = Field(Path(".headwater"), description="Folder that holds all state.")
    online_store: str = Field(
        "",
        repr=False,
        description="Online store: redis://host:port/db or the path of a SQLite file; empty: online.db in the home.",
    )
    tracking_uri: str = Field(
        "",
        repr=False,
        description="MLflow: postgresql://user:password@host/db, or its server's http://; empty: SQLite in the home.",
    )
    artifacts: str = Field(
        "",
        description="MLflow's files: a folder, s3://bucket/prefix or, by its server, mlflow-artifacts:/; "
        "empty: in the home.",
    )
    dagster_db: str = Field(
        "",
        repr=False,
        description="Dagster's records: postgresql://user:password@host/db; empty: SQLite in the home.",
    )
    serving_volume: Path | None = Field(
        None,
        description="Folder that all replicas of Triton see, with deployed graphs, plans and prediction log; unset: "
        "serving in the home.",
    )
    triton_scratch: Path | None = Field(
        None, description="Folder of one Triton's process files and log; unset: server in the folder above."
    )
    triton_root: Path = Field(Path(".triton"), description="Folder of the unpacked Triton server.")
    serving_python: Path = Field(
        Path(".venv-serving/bin/python"), description="Python of the serving environment (numpy < 2)."
    )
    triton_address: str = Field("127.0.0.1", description="Address on which Triton listens.")
    triton_grpc_port: int = Field(8001, description="Triton's gRPC port.")
    triton_metrics_port: int = Field(8002, description="Triton's Prometheus port.")
    triton_url: str = Field(
        "", description="Where our own clients ask, host:port; empty: the Triton of this machine, on loopback."
    )
    triton_replicas: str = Field(
        "",
        description="Where replicas of Triton are controlled: host:port of a name that resolves to all, several with "
        "commas; empty: there is one, on this machine, which our commands start and stop.",
    )
    serving_tls_cert: Path | None = Field(None, description="PEM: Triton's certificate chain; set: gRPC is TLS only.")
    serving_tls_key: Path | None = Field(None, description="PEM: the key of that certificate.")
    serving_tls_client_ca: Path | None = Field(
        None, description="PEM: who signs clients' certificates; set: mutual TLS, every client needs one."
    )
    serving_ca: Path | None = Field(
        None, description="PEM: whom our own clients trust; unset: exactly Triton's certificate, if it is set."
    )
    serving_client_cert: Path | None = Field(None, description="PEM: our own clients' certificate, for mutual TLS.")
    serving_client_key: Path | None = Field(None, description="PEM: the key of that certificate.")
    serving_token_file: Path | None = Field(
        None, description="File whose text every inference must bring; unset: whoever reaches the port may ask."
    )
    otlp_endpoint: str = Field(
        "", description="Where spans of requests go, an OTLP receiver such as http://127.0.0.1:4318; empty: no traces."
    )
    ui_port: int = Field(3000, description="Port of the Dagster UI.")
    reports_port: int = Field(3001, description="Port of the drift pages that the Dagster UI links to.")
    mlflow_port: int = Field(5000, description="Port of the MLflow page.")
    offline_store: Literal["polars", "spark"] = Field(
        "polars", description="What joins features to rows: polars in this process, or Feast's Spark store."
    )
    join_memory_mb: float | None = Field(
        None, gt=0, description="Feature history that a join holds at a time, in MiB; unset: a month of a view."
    )
    spark_conf: dict[str, str] = Field(
        {}, description="Spark's settings as JSON, over those of local mode; a cluster's spark.master for one."
    )
    allow_overrides: bool = Field(
        False, description="Whether a person may let a failed check pass for a while (python -m assets.override)."
    )
    train_seconds: float = Field(
        3600.0, gt=0, description="Bound on the fitting time of one model over all tries, in seconds; it cuts training."
    )
    train_memory_mb: float | None = Field(
        None, gt=0, description="Memory for encoded training rows, in MiB, else they are on disk; unset: what is free."
    )
    score_memory_mb: float = Field(
        512.0,
        gt=0,
        description="Memory for rows that batch inference scores at a time, in MiB.",
    )

    keep_staged_days: float = Field(
        30.0, ge=0, description="Days that replaced raw, feature and score versions, failed batches too, are kept."
    )
    keep_published_days: float = Field(90.0, ge=0, description="Days that replaced published versions are kept.")
    keep_rollbacks: int = Field(3, ge=0, description="Published versions kept for rollback, however old.")
    keep_training_sets_days: float = Field(
        90.0, ge=0, description="Days that replaced training sets, and unused profiles of drift checks, are kept."
    )
    keep_logs_days: float = Field(30.0, ge=0, description="Days that logs, landed predictions and reports are kept.")
    keep_runs_days: float = Field(90.0, ge=0, description="Days that Dagster runs and unregistered MLflow runs stay.")
    vacuum_grace_hours: int = Field(24, ge=0, description="Hours in which nothing new is removed, whatever it is.")

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

    @field_validator("online_store")
    @classmethod
    def _online_address(cls, address: str, info: ValidationInfo) -> str:
        """Fill in the home's SQLite file; refuse an address that no store has."""
        require_plain(address)
        if "://" in address:
            if not address.startswith(("redis://", "rediss://", "unix://")):
                raise ValueError(f"{shown(address)} is neither redis://host:port/db nor the path of a SQLite file")
            return address
        return str(Path(address).absolute()) if address else _embedded(info.data["home"])["online_store"]

    @field_validator("tracking_uri")
    @classmethod
    def _tracking_address(cls, address: str, info: ValidationInfo) -> str:
        """Fill in the home's SQLite file; refuse an address that is none of MLflow's that we know."""
        require_plain(address)
        if not address:
            return _embedded(info.data["home"])["tracking_uri"]
        if not address.startswith(("sqlite:///", *_POSTGRES, "http://", "https://")):
            raise ValueError(
                f"{shown(address)} is none of postgresql://user:password@host/db, http://host:port, sqlite:////path"
            )
        return address.rstrip("/")

    @field_validator("artifacts")
    @classmethod
    def _artifacts_address(cls, place: str, info: ValidationInfo) -> str:
        """Fill in the home's folder; refuse an address that no store has, or that nobody would serve."""
        if not place:
            return _embedded(info.data["home"])["artifacts"]
        if place.startswith("mlflow-artifacts:") and not info.data.get("tracking_uri", "http").startswith("http"):
            raise ValueError(f"{place} is served by MLflow's server: set HEADWATER_TRACKING_URI to its http:// address")
        if place.startswith(("mlflow-artifacts:", "s3://")):
            return place
        if "://" in place:
            raise ValueError(f"{shown(place)} is neither a folder nor s3://bucket/prefix nor mlflow-artifacts:/")
        return str(Path(place).absolute())

    @field_validator("dagster_db")
    @classmethod
    def _dagster_address(cls, address: str, info: ValidationInfo) -> str:
        """Refuse an address that is not a PostgreSQL's, or is MLflow's: both keep a table of the same name."""
        require_plain(address)
        if address and not address.startswith(_POSTGRES):
            raise ValueError(f"{shown(address)} is not like postgresql://user:password@host/db")
        if address and address.rpartition("@")[2] == info.data.get("tracking_uri", "").rpartition("@")[2]:
            raise ValueError(f"{shown(address)} is MLflow's database: give Dagster one of its own")
        return address

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
    def lake(self) -> Path:
        """Delta tables."""
        return self.root / "lake"

    @property
    def warehouse(self) -> Path:
        """The DuckDB file in which dbt builds."""
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

    @property
    def triton_here(self) -> str:
        """Where the Triton of this machine is asked by this machine, host:port."""
        address = "127.0.0.1" if self.triton_address == "0.0.0.0" else self.triton_address
        return f"{address}:{self.triton_grpc_port}"

    @property
    def triton_target(self) -> str:
        """Where our own clients ask, host:port."""
        return self.triton_url or self.triton_here

    def embedded_in(self, home: Path, **more: object) -> Self:
        """Return the settings of another home, with all state in it and a Triton of its own; `more` differ."""
        home = home.absolute()
        own: dict[str, object] = {"home": home, **_embedded(home), "triton_address": "127.0.0.1"}
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
