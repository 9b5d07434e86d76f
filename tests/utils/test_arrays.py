"""What is converted, and what is refused because it could be mistaken."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from REZSL.utils.arrays import class_mask, class_numbers, number, numbers, whole_number

DTYPES = ["uint8", "int32", "int64", "uint64", "float16", "float32", "float64"]


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(0, 255), max_size=6), st.sampled_from(DTYPES), st.integers(0, 2), st.integers(0, 2))
def test_class_numbers_keep_their_values_in_every_type_and_shape(values, dtype, before, after):
    given_values = np.array(values, dtype).reshape([1] * before + [len(values)] + [1] * after)
    for form in (given_values, given_values.tolist()):
        found = class_numbers(form, "labels", 256)
        assert found.dtype == np.int64
        assert found.tolist() == values


@settings(max_examples=50, deadline=None)
@given(st.lists(st.booleans(), min_size=1, max_size=6), st.sampled_from(DTYPES))
def test_a_mask_is_never_made_of_numbers_that_could_be_class_numbers(values, dtype):
    assert class_mask(values, "seen", len(values)).tolist() == values
    as_numbers = np.array(values).astype(dtype)
    if len(values) > 2 or values == [values[0]] * 2:
        assert class_mask(as_numbers[:, None], "seen", len(values)).tolist() == values
    else:
        with pytest.raises(ValueError, match="seen must be True or False for each of the"):
            class_mask(as_numbers, "seen", len(values))


def test_tensors_of_every_kind():
    values = torch.tensor([1.0, 2.0], dtype=torch.bfloat16, requires_grad=True)
    assert numbers(values, "scores").tolist() == [1, 2]
    assert class_numbers(values, "labels").tolist() == [1, 2]
    assert class_mask(torch.tensor([True, False]), "seen", 2).tolist() == [True, False]


@pytest.mark.parametrize("value", [3, 3.0, [[3]], np.array([[3]], np.uint8), torch.tensor(3.0)])
def test_a_single_number_in_any_wrapping(value):
    assert number(value, "k") == 3.0
    assert whole_number(value, "k") == 3


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: class_numbers([2.0**53], "labels"), r"labels must be class numbers, got 9\.0072e\+15"),
        (lambda: class_numbers(np.array([2**63], np.uint64), "labels"), "labels must be class numbers, got 9"),
        (lambda: class_numbers(np.zeros((2, 0)), "labels"), r"labels must be \(n,\), got \(2, 0\)"),
        (lambda: numbers({1: 2}, "scores"), "scores must be an array of numbers, got dict of object"),
        (lambda: number([], "gamma"), r"gamma is \[\], expected a finite number"),
        (lambda: number(range(9), "gamma"), r"gamma is \[0, 1, 2, \.\.\., 6, 7, 8\], expected a finite number"),
        (lambda: whole_number(0, "k"), "k is 0, expected a whole number, 1 or more"),
    ],
)
def test_refusals(call, message):
    with pytest.raises(ValueError, match=message):
        call()
