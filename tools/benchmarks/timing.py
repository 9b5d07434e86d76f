"""Timings that a shared machine does not spoil: taken in turn, told as median and quartiles."""

import statistics
import time
from collections.abc import Callable


def interleaved(functions: list[Callable], calls: list[int], repeats: int) -> list[list[float]]:
    """Times the functions in turn, so that a slow moment of the machine meets all: seconds a call, per function."""
    times: list[list[float]] = [[] for _ in functions]
    for repeat in range(repeats + 2):
        for function, number, seconds in zip(functions, calls, times, strict=True):
            started = time.perf_counter()
            for _ in range(number):
                function()
            if repeat >= 2:  # the first two warm up
                seconds.append((time.perf_counter() - started) / number)
    return times


def spread(values: list[float], factor: float = 1.0) -> str:
    """Median and quartiles as text."""
    low, middle, high = statistics.quantiles([value * factor for value in values], n=4)
    return f"{middle:.3g} [{low:.3g} {high:.3g}]"
