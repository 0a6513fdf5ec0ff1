"""The files of a lake in an S3 bucket, asked for through boto3: what Delta's own library does not tell of them.

Credentials, region and endpoint are the standard AWS_* variables, which Delta and polars read as well. Only listing
and reading small files belong here: rows are read and written by Delta and polars.
"""

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

from ml.storage import LOG, StorageUnreachable

T = TypeVar("T")
U = TypeVar("U")

_AT_ONCE = 16  # requests
_KEPT_CHARACTERS = 65_536  # of a file whose text is kept: a commit of Delta's log is never written again
_ONCE = ".written-once"
_ASKED = ("NoSuchKey", "404", "PreconditionFailed", "ConditionalRequestConflict")  # answers, not refusals to answer


class S3Files:
    """The files under s3://bucket/prefix."""

    def __init__(self, root: str, locks: Path | None) -> None:
        self.root = root.rstrip("/")
        self.locks = locks
        self._bucket, _, prefix = self.root.removeprefix("s3://").partition("/")
        self._prefix = f"{prefix}/" if prefix else ""
        self._reached = False
        self._refuses = False
        self._tags: dict[str, str] = {}  # by key, as last listed
        self._texts: dict[str, tuple[str, str]] = {}  # by key: tag and text

    def at(self, path: str) -> str:
        """Return the s3:// address of an object or prefix."""
        return f"{self.root}/{path}"

    def reach(self, again: bool = False) -> None:
        """Ask the bucket for one name: it says what is wrong at once, where Delta tries again and says little."""
        if self._reached and not again:
            return
        with self._told():
            self._client.list_objects_v2(Bucket=self._bucket, Prefix=self._prefix, MaxKeys=1)
        plain = self._client.meta.endpoint_url.startswith("http://")
        if plain and os.environ.get("AWS_ALLOW_HTTP", "").lower() not in ("true", "1"):
            raise StorageUnreachable(f"the lake {self.root} is behind http://; set AWS_ALLOW_HTTP=true if it may be")
        self._reached = True

    def refuse_lossy(self) -> None:
        """Write one object twice that must not be there yet, once for all in a lake: Delta's commits are such writes.

        Raises OSError if the server takes both: then it would lose commits, and nobody would notice.
        """
        if self._refuses or self._refuses_another() or self._refuses_another():
            self._refuses = True
            return
        raise OSError(
            f"the server of the lake {self.root} ignores `If-None-Match: *`: two writers would lose commits; "
            "put the lake on a server that honours it, such as SeaweedFS or AWS S3"
        )

    def names(self, folder: str) -> list[str]:
        """Return the names of the objects directly in a folder."""
        start = len(self._prefix) + len(folder) + 1
        found = [item for page in self._pages(f"{folder}/", "/") for item in page.get("Contents", ())]
        self._tags.update((item["Key"], item["ETag"]) for item in found)
        return [item["Key"][start:] for item in found]

    def sizes(self, folder: str, paths: Sequence[str]) -> list[int]:
        """Return the bytes of each object, -1 for a missing one: one listing of the folder, a thousand to a request."""
        if not paths:
            return []
        start = len(self._prefix) + len(folder) + 1
        found = {
            item["Key"][start:]: item["Size"] for page in self._pages(f"{folder}/") for item in page.get("Contents", ())
        }
        return [found.get(path, -1) for path in paths]

    def texts(self, folder: str, names: Iterable[str]) -> Iterator[str]:
        """Yield the text of each object; what was read before and is listed unchanged is not read again."""
        return self.each(lambda name: self._text(f"{self._prefix}{folder}/{name}"), names)

    def each(self, read: Callable[[T], U], items: Iterable[T]) -> Iterator[U]:
        """Yield the first at once and then several at a time: each one waits for the network."""
        waiting = iter(items)
        yield from map(read, islice(waiting, 1))
        pool = ThreadPoolExecutor(_AT_ONCE)
        try:
            running = deque(pool.submit(read, item) for item in islice(waiting, _AT_ONCE))
            while running:
                result = running.popleft().result()
                running.extend(pool.submit(read, item) for item in islice(waiting, 1))
                yield result
        finally:
            pool.shutdown(wait=False, cancel_futures=True)

    def tables(self) -> list[str]:
        """Return the paths of all tables, sorted."""
        folders = [table for stage in self._folders("") for table in self._folders(stage)]
        return sorted(table.rstrip("/") for table in folders if f"{table}{LOG}/" in self._folders(table))

    def _refuses_another(self) -> bool:
        from botocore.exceptions import ClientError

        try:
            with self._told():
                self._client.put_object(Bucket=self._bucket, Key=f"{self._prefix}{_ONCE}", Body=b"", IfNoneMatch="*")
        except ClientError:
            return True
        return False

    def _folders(self, folder: str) -> list[str]:
        """Return the folders in a folder, as paths that end with a slash."""
        prefixes = (common for page in self._pages(folder, "/") for common in page.get("CommonPrefixes", ()))
        return [common["Prefix"].removeprefix(self._prefix) for common in prefixes]

    def _pages(self, path: str, delimiter: str = "") -> Iterator[dict[str, Any]]:
        asked = {"Bucket": self._bucket, "Prefix": f"{self._prefix}{path}"}
        if delimiter:
            asked["Delimiter"] = delimiter
        with self._told():
            yield from self._client.get_paginator("list_objects_v2").paginate(**asked)

    def _text(self, key: str) -> str:
        from botocore.exceptions import ClientError

        tag = self._tags.get(key)
        kept = self._texts.get(key)
        if kept and kept[0] == tag:
            return kept[1]
        try:
            with self._told():
                got = self._client.get_object(Bucket=self._bucket, Key=key)
                body = got["Body"].read()
        except ClientError as error:
            raise FileNotFoundError(f"s3://{self._bucket}/{key} is missing") from error
        text = str(body, "utf-8")
        if len(text) <= _KEPT_CHARACTERS:
            self._texts[key] = (got["ETag"], text)
        return text

    @cached_property
    def _client(self) -> Any:
        import boto3
        from botocore.config import Config

        # boto3 itself knows only AWS_DEFAULT_REGION, Delta and polars only AWS_REGION.
        region = os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION")
        patience = Config(connect_timeout=5, retries={"mode": "standard"}, max_pool_connections=_AT_ONCE)
        with self._told():
            return boto3.session.Session().client("s3", region_name=region, config=patience)

    @contextmanager
    def _told(self) -> Iterator[None]:
        """Say what is wrong with bucket, credentials or endpoint. What is said of one object stays a ClientError."""
        from botocore.exceptions import BotoCoreError, ClientError

        try:
            yield
        except ClientError as error:
            code = str(error.response.get("Error", {}).get("Code"))
            if code in _ASKED:
                raise
            reason, remedy = str(error), _REMEDIES.get(code, _REMEDY)
        except (BotoCoreError, ValueError) as error:
            reason, remedy = str(error), _REMEDY
        else:
            return
        raise StorageUnreachable(f"the lake {self.root} cannot be reached: {reason}; {remedy.format(self._bucket)}")


_CREDENTIALS = "see AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_SESSION_TOKEN, or the role of this pod"
_REMEDY = f"see AWS_ENDPOINT_URL, AWS_REGION and HEADWATER_LAKE; {_CREDENTIALS}"
_REMEDIES = {
    "NoSuchBucket": "make the bucket {0}, or name another in HEADWATER_LAKE",
    "AccessDenied": "the credentials need s3:ListBucket on the bucket {0}, and s3:GetObject, s3:PutObject and "
    "s3:DeleteObject on what is in it",
    "InvalidAccessKeyId": _CREDENTIALS,
    "SignatureDoesNotMatch": _CREDENTIALS,
    "ExpiredToken": _CREDENTIALS,
}
