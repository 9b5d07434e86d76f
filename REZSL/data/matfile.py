"""One .mat file whose complaints name it."""

from pathlib import Path

import numpy as np
import scipy.io

from REZSL.utils.errors import DataError, first_line


class MatFile:
    """The content of a .mat file, by key.

    Args:
        path: the file.
        skip: keys to leave unread.

    Raises:
        DataError: the file is missing or damaged, or (when asked for) a key is; says which, and what to do.
    """

    def __init__(self, path: Path, skip: tuple[str, ...] = ()) -> None:
        self.path = path
        if not path.is_file():
            raise DataError(f"{path} is missing: unpack xlsa17.zip so that this file exists, or set DATASETS.ROOT")
        try:
            present = [key for key, _, _ in scipy.io.whosmat(path)]
            self.content = scipy.io.loadmat(path, variable_names=[key for key in present if key not in skip])
        except NotImplementedError:
            raise DataError(f"{path} is in MATLAB 7.3 format: save it again with '-v7'") from None
        except Exception as error:  # scipy raises many kinds for damaged files
            raise DataError(f"{path} cannot be read, it may be truncated: {first_line(error)}") from None

    def __getitem__(self, key: str) -> np.ndarray:
        if key not in self.content:
            raise DataError(f"{self.path} has no {key!r}; it has {', '.join(k for k in self.content if k[0] != '_')}")
        return self.content[key]

    def strings(self, key: str) -> tuple[str, ...]:
        """The cells of ``key`` as text; empty where the file has no such key."""
        if key not in self.content:
            return ()
        return tuple("".join(str(part) for part in np.ravel(cell)).strip() for cell in np.ravel(self.content[key]))

    def integers(self, key: str) -> np.ndarray:
        """The whole numbers of ``key``, flat, as int64."""
        values = np.ravel(self[key])
        if values.dtype.kind not in "iuf":
            raise DataError(f"{self.path}: {key} must hold whole numbers, got {values.dtype}")
        broken = values[~(np.isfinite(values) & (values == np.floor(values)))]
        if len(broken):
            raise DataError(f"{self.path}: {key} must hold whole numbers, got {broken[0]}")
        return values.astype(np.int64)
