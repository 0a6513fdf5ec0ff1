"""A lake in a folder and one on a real S3 server, and what spoils their files: the same for tests of both."""

import uuid
from pathlib import Path

from assets.s3_server import S3Server
from ml.lake import Lake


class LakePlace:
    """An empty lake, in a folder or, with a server, in its bucket."""

    def __init__(self, folder: Path, s3: S3Server | None) -> None:
        self.folder, self.s3 = folder, s3
        self.root = f"s3://lake/{uuid.uuid4().hex}/a-b" if s3 else str(folder / "lake")
        self.lake = Lake(self.root, folder / "locks")

    def write(self, path: str, content: bytes) -> None:
        """Write over a file of the lake, behind its back."""
        if self.s3:
            self.s3.client.put_object(**self._named(path), Body=content)
        else:
            Path(self.lake.path(path)).write_bytes(content)

    def read(self, path: str) -> bytes:
        if self.s3:
            return bytes(self.s3.client.get_object(**self._named(path))["Body"].read())
        return Path(self.lake.path(path)).read_bytes()

    def delete(self, path: str) -> None:
        if self.s3:
            self.s3.client.delete_object(**self._named(path))
        else:
            Path(self.lake.path(path)).unlink()

    def _named(self, path: str) -> dict[str, str]:
        bucket, _, key = self.lake.path(path).removeprefix("s3://").partition("/")
        return {"Bucket": bucket, "Key": key}
