"""The settings of Triton: where it is, who may ask, and whether there are several. Part of `ml.settings`."""

from pathlib import Path

from pydantic import Field
from pydantic_settings import BaseSettings


class TritonSettings(BaseSettings):
    """What starts Triton, and how it is reached."""

    serving_volume: Path | None = Field(
        None,
        description="Folder that all replicas of Triton see, with deployed graphs, plans and prediction log; unset: "
        "serving in the home.",
    )
    triton_scratch: Path | None = Field(
        None,
        description="Folder of one Triton's process files and log, each replica's own; unset: server in that folder.",
    )
    triton_root: Path = Field(
        Path(".triton"), description="Folder of the unpacked Triton server; /opt/tritonserver in its own image."
    )
    serving_python: Path = Field(
        Path(".venv-serving/bin/python"), description="Python of the serving environment (numpy < 2)."
    )
    triton_address: str = Field("127.0.0.1", description="Address on which Triton listens; 0.0.0.0 in a container.")
    triton_grpc_port: int = Field(8001, description="Triton's gRPC port.")
    triton_metrics_port: int = Field(8002, description="Triton's Prometheus port.")
    triton_url: str = Field(
        "", description="Where our own clients ask, host:port; unset: the Triton of this machine, on loopback."
    )
    triton_replicas: str = Field(
        "",
        description="Where replicas of Triton are controlled: host:port of a name that resolves to all, several with "
        "commas; unset: there is one, on this machine, which our commands start and stop.",
    )
    serving_tls_cert: Path | None = Field(
        None, description="PEM: Triton's certificate chain, valid for 127.0.0.1; set: gRPC is TLS only."
    )
    serving_tls_key: Path | None = Field(None, description="PEM: the key of that certificate, without a password.")
    serving_tls_client_ca: Path | None = Field(
        None, description="PEM: who signs clients' certificates; set: mutual TLS, every client needs one, ours too."
    )
    serving_ca: Path | None = Field(
        None, description="PEM: whom our own clients trust; unset: exactly Triton's certificate, if it is set."
    )
    serving_client_cert: Path | None = Field(None, description="PEM: our own clients' certificate, for mutual TLS.")
    serving_client_key: Path | None = Field(None, description="PEM: the key of that certificate.")
    serving_token_file: Path | None = Field(
        None,
        description="File whose text every inference must bring, 16 to 256 letters, digits or ._~+/=-; unset: whoever "
        "reaches the port may ask.",
    )

    @property
    def triton_here(self) -> str:
        """Where the Triton of this machine is asked by this machine, host:port."""
        address = "127.0.0.1" if self.triton_address == "0.0.0.0" else self.triton_address
        return f"{address}:{self.triton_grpc_port}"

    @property
    def triton_target(self) -> str:
        """Where our own clients ask, host:port."""
        return self.triton_url or self.triton_here
