"""Starts real command lines, does them harm, and looks whether each ends as it should: a slow test, a line a case.

python tools/torture.py
python tools/torture.py --only small_shared_memory sigterm_in_an_evaluation

A case is a function in the list ``CASES`` of a module in ``tortures/``: it gets a ``Place`` of its own and raises
AssertionError where something ended otherwise, or ``NotHere`` where it cannot be tried. It takes some minutes; some
cases need root, others Linux.
"""

import argparse
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from tortures import files, folders, limits, loading, processes, signals
from tortures.place import NotHere, Place

MODULES = (loading, signals, limits, processes, folders, files)
CASES = [case for module in MODULES for case in module.CASES]


def main(argv: Sequence[str] | None = None) -> int:
    """Tries the cases and returns the exit status: 0, or 1 where one did not end as it should."""
    names = {case.__name__: case for case in CASES}
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=names, default=list(names), metavar="NAME", help=", ".join(names))
    args = parser.parse_args(argv)
    survived = tried = 0
    for name in args.only:
        started = time.monotonic()
        with tempfile.TemporaryDirectory(prefix="torture-") as folder:
            outcome = attempt(names[name], Place(Path(folder)))
        print(f"{name}: {outcome or 'ok'} ({time.monotonic() - started:.0f} s)", flush=True)
        tried += not (outcome or "").startswith("not tried")
        survived += outcome is None
    print(f"{survived}/{tried}")
    return int(survived < tried)


def attempt(case: Callable[[Place], None], place: Place) -> str | None:
    """Returns what went wrong in ``case``, or why it was not tried; None: it ended as it should."""
    try:
        case(place)
    except NotHere as reason:
        return f"not tried: {reason}"
    except AssertionError as error:
        return f"FAILED: {error}"
    finally:
        place.clear()
    return None


if __name__ == "__main__":
    sys.exit(main())
