"""Files from anywhere: none starts a program, ends the process, or takes memory without end."""

import resource
import struct
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from REZSL.data import load_split
from REZSL.utils.errors import DataError

from .place import FEATURES, Place

EPS = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\nshowpage\n%%EOF\n"
CHANGED = 300  # files
MOST = 500_000  # kB of memory that reading them may add


def a_program_in_disguise(place: Place) -> None:
    """Pillow would give an EPS file to Ghostscript, whatever it is named; nobody may start the ``gs`` of this PATH."""
    place.train_image.write_bytes(EPS)
    program, started = place.root / "bin" / "gs", place.root / "started"
    program.parent.mkdir()
    program.write_text(f"#!/bin/sh\ntouch '{started}'\nexit 1\n")
    program.chmod(0o755)
    before = f"os.environ['PATH'] = {str(program.parent)!r} + os.pathsep + os.environ['PATH']"
    for check in ("True", "False"):
        place.start("DATASETS.CHECK_IMAGES", check, before=before, folder=check).ends(1, "it is none of JPEG")
    assert not started.exists(), "gs was started"


def an_image_of_one_row(place: Place) -> None:
    height, width = 1, 60_000
    rows = zlib.compress(b"\0" + bytes(3 * width))
    chunks = [(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)), (b"IDAT", rows), (b"IEND", b"")]
    png = b"".join(struct.pack(">I", len(c)) + k + c + struct.pack(">I", zlib.crc32(k + c)) for k, c in chunks)
    place.train_image.write_bytes(b"\x89PNG\r\n\x1a\n" + png)
    place.start().ends(1, f"{place.train_image}.*60000 x 1 pixels")


def changed_mat_files(place: Place) -> None:
    """Of such files SciPy's reader turns about one in thirty into a segmentation fault."""
    before = f"from tortures.files import read_changed\nread_changed({str(place.root / 'data')!r})"
    place.start(*FEATURES, before=before).ends(0)


def a_mat_file_that_inflates_without_end(place: Place) -> None:
    path = place.data.folder / "att_splits.mat"
    matrix = struct.pack("<II", 14, 3 * 10**9)
    packed = zlib.compressobj()
    deflated = packed.compress(matrix) + packed.compress(bytes(10**8)) + packed.flush()
    path.write_bytes(path.read_bytes()[:128] + struct.pack("<II", 15, len(deflated)) + deflated)
    place.start(*FEATURES).ends(1, r"att_splits\.mat cannot be read")


def read_changed(root: str) -> None:
    """Reads the small data set in ``root`` again and again, each time with other bytes of its files changed.

    Raises:
        AssertionError: something else than a ``DataError`` came, or too much memory was taken.
    """
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    paths = sorted(Path(root).rglob("*.mat"))
    originals = [path.read_bytes() for path in paths]
    for path, content in _changes(paths, originals):
        path.write_bytes(content)
        try:
            load_split(root, "TINY", with_features=True)
        except DataError as error:
            assert "\n" not in str(error), f"an error of several lines: {error}"
    for path, content in zip(paths, originals, strict=True):
        path.write_bytes(content)
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert grown < MOST, f"reading changed files took {grown:,} kB"


def _changes(paths: list[Path], originals: list[bytes]) -> Iterator[tuple[Path, bytes]]:
    rng = np.random.default_rng(0)
    for number in range(CHANGED):
        which = number % len(paths)
        content = bytearray(originals[which])
        for place in rng.integers(124, min(len(content), 4000), rng.integers(1, 4)):
            content[place] = rng.integers(256)
        yield paths[which], bytes(content)
        paths[which].write_bytes(originals[which])


CASES: list[Callable[[Place], None]] = [
    a_program_in_disguise,
    an_image_of_one_row,
    changed_mat_files,
    a_mat_file_that_inflates_without_end,
]
