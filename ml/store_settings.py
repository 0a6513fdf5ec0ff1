"""The settings of where data are kept: the home, the lake, and the databases. Part of `ml.settings`."""

import re
from pathlib import Path

from pydantic import Field, ValidationInfo, field_validator
from pydantic_settings import BaseSettings

from ml.secret_address import require_plain, shown

_POSTGRES = ("postgresql://", "postgresql+psycopg2://")


def embedded(home: Path) -> dict[str, str]:
    """Return the stores that a home holds itself."""
    return {
        "lake": str(home / "lake"),
        "online_store": str(home / "online.db"),
        "tracking_uri": f"sqlite:///{home / 'mlflow' / 'mlflow.db'}",
        "artifacts": str(home / "mlflow" / "artifacts"),
        "dagster_db": "",
    }


class StoreSettings(BaseSettings):
    """Each is in the home unless it is named. Addresses may hold a password, and are not shown."""

    home: Path = Field(Path(".headwater"), description="Folder that holds all state.")
    lake: str = Field(
        "",
        description="Delta tables: a folder, or s3://bucket/prefix with the AWS_* variables; unset: lake in the home.",
    )
    online_store: str = Field(
        "",
        repr=False,
        description="Online store: redis://host:port/db (also rediss://, unix://) or the path of a SQLite file; unset: "
        "online.db in the home. It is written into the plans of deployed models, a password too: deploy again after a "
        "change.",
    )
    tracking_uri: str = Field(
        "",
        repr=False,
        description="MLflow's runs and registry: postgresql://user:password@host:5432/db, or MLflow's server, "
        "http://host:5000; unset: SQLite in the home.",
    )
    artifacts: str = Field(
        "",
        description="MLflow's files: a folder, s3://bucket/prefix (with the AWS_* variables), or mlflow-artifacts:/, "
        "which only a server gives out; unset: mlflow/artifacts in the home. An experiment stays where it was begun.",
    )
    dagster_db: str = Field(
        "",
        repr=False,
        description="Dagster's runs, events, schedules and sensors: postgresql://user:password@host:5432/db; unset: "
        "SQLite in the home. A change takes a new set-up.",
    )

    @field_validator("lake")
    @classmethod
    def _lake_address(cls, address: str, info: ValidationInfo) -> str:
        """Fill in the home's folder; refuse an address that no lake has."""
        if "://" not in address:
            return str(Path(address).absolute() if address else info.data["home"] / "lake")
        if not re.fullmatch(r"s3://[a-z0-9][a-z0-9.-]+(/[\w.-]+)*/?", address, re.ASCII):
            raise ValueError(f"{address} is neither s3://bucket/prefix nor a folder; letters, digits and ._- name both")
        return address.rstrip("/")

    @field_validator("online_store")
    @classmethod
    def _online_address(cls, address: str, info: ValidationInfo) -> str:
        """Fill in the home's SQLite file; refuse an address that no store has."""
        require_plain(address)
        if "://" in address:
            if not address.startswith(("redis://", "rediss://", "unix://")):
                raise ValueError(f"{shown(address)} is neither redis://host:port/db nor the path of a SQLite file")
            return address
        return str(Path(address).absolute()) if address else embedded(info.data["home"])["online_store"]

    @field_validator("tracking_uri")
    @classmethod
    def _tracking_address(cls, address: str, info: ValidationInfo) -> str:
        """Fill in the home's SQLite file; refuse an address that is none of MLflow's that we know."""
        require_plain(address)
        if not address:
            return embedded(info.data["home"])["tracking_uri"]
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
            return embedded(info.data["home"])["artifacts"]
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
