"""A real S3 server, SeaweedFS, on free ports of loopback: objects on disk, signatures checked, conditional writes."""

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from tests.redis_server import free_port

KEY, SECRET, REGION = "headwater", "not-a-secret-of-anyone", "eu-central-1"
_PORTS = ("s3.port", "s3.port.grpc", "master.port", "master.port.grpc", "volume.port", "volume.port.grpc")
_PORTS += ("filer.port", "filer.port.grpc")


@dataclass
class S3Server:
    """One server with its objects in a folder that goes with it."""

    ports: dict[str, int] = field(default_factory=lambda: {name: free_port() for name in _PORTS})
    folder: TemporaryDirectory[str] = field(default_factory=lambda: TemporaryDirectory(prefix="s3-"))
    process: subprocess.Popen[bytes] | None = None

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.ports['s3.port']}"

    @property
    def environment(self) -> dict[str, str]:
        """What a client's environment needs, nothing of the machine's own."""
        return {
            "AWS_ACCESS_KEY_ID": KEY,
            "AWS_SECRET_ACCESS_KEY": SECRET,
            "AWS_REGION": REGION,
            "AWS_ENDPOINT_URL": self.address,
            "AWS_ALLOW_HTTP": "true",
            "AWS_EC2_METADATA_DISABLED": "true",
        }

    @property
    def client(self) -> Any:
        once = Config(retries={"total_max_attempts": 1})
        keys = {"aws_access_key_id": KEY, "aws_secret_access_key": SECRET}
        return boto3.client("s3", endpoint_url=self.address, region_name=REGION, config=once, **keys)

    def start(self, buckets: Sequence[str]) -> None:
        program = shutil.which("weed", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
        assert program, "no S3 server; run make setup"
        folder = Path(self.folder.name)
        actions = ["Admin", "Read", "Write", "List", "Tagging"]
        who = {"name": KEY, "credentials": [{"accessKey": KEY, "secretKey": SECRET}], "actions": actions}
        (folder / "users.json").write_text(json.dumps({"identities": [who]}))
        options = {
            **self.ports,
            "dir": folder,
            "ip": "127.0.0.1",
            "ip.bind": "127.0.0.1",
            "s3.ip.bind": "127.0.0.1",
            "s3.config": folder / "users.json",
            "s3.localSocket": folder / "s3.sock",
            "filer.localSocket": folder / "filer.sock",
            "s3.port.iceberg": 0,
            "s3.port.lance": 0,
            "master.telemetry": "false",
            "master.volumeSizeLimitMB": 64,
            "volume.max": 20,
        }
        words = [f"-{name}={value}" for name, value in options.items()]
        with (folder / "log").open("wb") as log:
            self.process = subprocess.Popen([program, "server", "-s3", *words], cwd=folder, stdout=log, stderr=log)
        self._await(buckets)

    def _await(self, buckets: Sequence[str]) -> None:
        for _ in range(300):
            try:
                for bucket in buckets:
                    self.client.create_bucket(Bucket=bucket)
                    self.client.put_object(Bucket=bucket, Key="up", Body=b"")
                    self.client.delete_object(Bucket=bucket, Key="up")
                return
            except (BotoCoreError, ClientError):
                time.sleep(0.1)
        raise AssertionError(f"the S3 server does not answer: {(Path(self.folder.name) / 'log').read_text()[-2000:]}")

    def stop(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()
        self.folder.cleanup()
