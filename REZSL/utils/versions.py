"""Which code computes here."""

import hashlib
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

PACKAGE = Path(__file__).parents[1]
LIBRARIES = "torch", "torchvision", "numpy", "pillow"


def code_versions() -> dict[str, str]:
    """A hash of this package's source, and the versions of the libraries that results depend on."""
    source = hashlib.sha256()
    for file in sorted(PACKAGE.rglob("*.py")):
        source.update(file.relative_to(PACKAGE).as_posix().encode() + b"\0" + file.read_bytes())
    return {"the code of REZSL": source.hexdigest()[:12], **{name: _version(name) for name in LIBRARIES}}


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:  # built by hand
        return "unknown"
