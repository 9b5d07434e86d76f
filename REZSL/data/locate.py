"""Finding recorded images under a folder."""

import os
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path

from REZSL.utils.errors import DataError
from REZSL.utils.files import absence

from .finding import listed


def find_images(recorded: Sequence[str], folder: str | os.PathLike) -> list[Path]:
    """Finds each recorded image under ``folder`` as :func:`locate_images` does, and insists on all of them.

    Raises:
        DataError: with the number of images not found and the first of them.
    """
    found = locate_images(recorded, folder)
    if problem := missing_images(recorded, found, folder):
        raise DataError(problem)
    return found


def missing_images(recorded: Sequence[str], found: Sequence[Path | None], folder: str | os.PathLike) -> str | None:
    """What to say of the images that :func:`locate_images` has not found, in one line; None where it found all."""
    missing = [path for path, place in zip(recorded, found, strict=True) if place is None]
    if not missing:
        return None
    tails = (Path(folder, *_parts(path)[i:]) for path in missing[:3] for i in range(len(_parts(path))))
    links = [f"{tail} {absence(tail)}" for tail in tails if tail.is_symlink()]
    reason = f" ({listed(links, 1)})" if links else ""
    return (
        f"{len(missing)} of {len(recorded)} images are not under {folder}, recorded as {listed(missing, 3)}{reason}: "
        f"complete the folder, or set DATASETS.IMAGE_ROOT"
    )


def locate_images(recorded: Sequence[str], folder: str | os.PathLike) -> list[Path | None]:
    """Looks under ``folder`` for the longest tail of each recorded path that exists there, never outside it.

    ``/their/disk/CUB_200_2011/images/001.A/1.jpg`` is found as ``folder/CUB_200_2011/images/001.A/1.jpg``. A name that
    is nowhere as it is written may differ in capitals (``1.JPG``) and in how its accents are composed, where only one
    file is called so, and no other recorded image is that file.

    Returns:
        One path for each of ``recorded``, or None where it is not there.

    Raises:
        DataError: there is no ``folder``.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise DataError(
            f"the image folder {folder} {absence(folder)}: put the images there, or set DATASETS.IMAGE_ROOT"
        )

    @cache
    def files_in(directory: Path) -> frozenset[str]:
        return frozenset(entry.name for entry in _entries(directory) if _is_file(entry))

    @cache
    def directories(parts: tuple[str, ...]) -> list[Path]:
        """The tails of a recorded folder that exist, longest first."""
        tails = (folder.joinpath(*parts[i:]) for i in range(len(parts) + 1))
        return [tail for tail in tails if tail.is_dir()]

    @cache
    def called(directory: Path) -> dict[str, list[str]]:
        """The names in a directory by what they become when capitals and accents are not told apart."""
        names = defaultdict(list)
        for entry in _entries(directory):
            names[_plain(entry.name)].append(entry.name)
        return names

    @cache
    def like(directory: Path, parts: tuple[str, ...]) -> Path | None:
        """The one path below ``directory`` that is called like ``parts``."""
        if not parts:
            return directory
        names = called(directory).get(_plain(parts[0]), ()) if directory.is_dir() else ()
        return like(directory / names[0], parts[1:]) if len(names) == 1 else None

    def alike(path: str) -> Path | None:
        parts = _parts(path)
        places = (like(folder, parts[i:]) for i in range(len(parts)))
        return next((place for place in places if place is not None and place.is_file()), None)

    found: list[Path | None] = []
    for path in recorded:
        *parts, name = _parts(path) or ("",)
        place = next((d for d in directories(tuple(parts)) if name in files_in(d)), None)
        found.append(None if place is None else place / name)
    if None not in found:
        return found
    loose = [alike(path) if place is None else None for path, place in zip(recorded, found, strict=True)]
    claims = Counter(place for _, place in {*zip(recorded, found, strict=True), *zip(recorded, loose, strict=True)})
    return [place or (other if claims[other] == 1 else None) for place, other in zip(found, loose, strict=True)]


def _parts(path: str) -> tuple[str, ...]:
    """The steps of a recorded path, of which any tail may lie inside the folder: only what follows the last '..'."""
    parts = [part for part in path.replace("\\", "/").split("/") if part not in ("", ".")]
    return tuple(parts[len(parts) - parts[::-1].index("..") :] if ".." in parts else parts)


def _plain(name: str) -> str:
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())


def _entries(directory: Path) -> Iterator[os.DirEntry]:
    with os.scandir(directory) as entries:
        yield from entries


def _is_file(entry: os.DirEntry) -> bool:
    try:
        return entry.is_file()
    except OSError:  # a link that leads in a circle
        return False
