"""Arrays as anyone has them: NumPy's, torch's, lists, or the (n, 1) doubles that ``scipy.io.loadmat`` gives.

What cannot be mistaken is converted; all else is refused with a ``ValueError`` that says what was found.
"""

from typing import Any

import numpy as np

from .errors import first_line

LARGEST = 2**53  # from here on not every whole number is a float


def numbers(values: Any, name: str) -> np.ndarray:
    """Returns ``values`` as an array of numbers or booleans; ``name`` is what an error calls them."""
    if hasattr(values, "detach"):  # a torch tensor, on whatever device
        values = values.detach().cpu()
        values = (values.double() if values.is_floating_point() else values).numpy()  # NumPy knows no bfloat16
    try:
        array = np.asarray(values)
    except ValueError as error:  # rows of unequal length
        raise ValueError(f"{name} must be an array of numbers: {first_line(error)}") from None
    if array.dtype.kind not in "biuf":
        raise ValueError(f"{name} must be an array of numbers, got {type(values).__name__} of {array.dtype}")
    return array


def number(value: Any, name: str) -> float:
    """Returns a single finite number, also out of an array that holds nothing else."""
    array = numbers(value, name)
    if array.size != 1 or not np.isfinite(array).all():
        raise ValueError(f"{name} is {_shown(array)}, expected a finite number")
    return float(array.reshape(-1)[0])


def whole_number(value: Any, name: str) -> int:
    """Returns a single whole number of 1 or more."""
    found = number(value, name)
    if found < 1 or found != int(found):
        raise ValueError(f"{name} is {found:g}, expected a whole number, 1 or more")
    return int(found)


def column(values: Any, name: str) -> np.ndarray:
    """Returns (n,) ``values`` that may have further axes of length 1."""
    array = numbers(values, name)
    if array.ndim < 1 or sum(length != 1 for length in array.shape) > 1:
        raise ValueError(f"{name} must be (n,), got {array.shape}")
    return array.reshape(-1)


def class_numbers(values: Any, name: str, num_classes: int | None = None) -> np.ndarray:
    """Returns (n,) integers, 0 or more and below ``num_classes``; whole numbers may come as floats."""
    array = column(values, name)
    expected = f"{name} must be class numbers" + ("" if num_classes is None else f" in 0..{num_classes - 1}")
    if array.dtype.kind == "b":
        raise ValueError(f"{expected}, got True and False")
    if array.dtype.kind == "f":
        array = array.astype(np.float64)
    unfit = (array < 0) | (array >= (LARGEST if num_classes is None else num_classes))
    if array.dtype.kind == "f":
        unfit |= array != np.rint(array)  # NaN differs from itself
    if unfit.any():
        from_one = num_classes is not None and array.min() >= 1 and array.max() == num_classes
        hint = "; where they count from 1, as MATLAB's do, subtract 1" if from_one else ""
        raise ValueError(f"{expected}, got {array[unfit][0]:g}{hint}")
    return array.astype(np.int64, copy=False)


def class_mask(values: Any, name: str, num_classes: int) -> np.ndarray:
    """Returns (C,) booleans. 0 and 1 will do where they cannot be class numbers, which never come twice."""
    array = column(values, name)
    if array.dtype.kind != "b" and not (np.isin(array, (0, 1)).all() and len(np.unique(array)) < len(array)):
        raise ValueError(
            f"{name} must be True or False for each of the {num_classes} classes, got {_shown(array)}; "
            "of class numbers np.isin(np.arange(num_classes), numbers) makes that"
        )
    if len(array) != num_classes:
        raise ValueError(f"{name} must be ({num_classes},), True or False for each class, got ({len(array)},)")
    return array.astype(bool)


def _shown(array: np.ndarray) -> str:
    return np.array2string(array, threshold=6, edgeitems=3, separator=", ").replace("\n", "")
