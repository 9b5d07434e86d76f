"""Compares runs in one table, with published figures beside them.

python tools/summarize.py runs/demo runs/many_seeds --output runs/summary

A RUN is a run folder, or the folder of a run of several seeds, whose figures are mean and standard deviation. Published
figures of the data sets at hand are added, under their right name: they are oracle rows.
"""

import argparse
import logging
import sys
from collections.abc import Sequence
from pathlib import Path

from REZSL.report import comparison_tidy, comparison_wide, read_entry, read_sound
from REZSL.utils.command import run_command
from REZSL.utils.errors import DataError, raise_all
from REZSL.utils.files import write_text

log = logging.getLogger("REZSL.summarize")


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command line ``argv`` and returns the exit status: 0, 1 (an error told in one line) or 130 (Ctrl-C)."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+", metavar="RUN", help="run folder, or folder of several seeds")
    parser.add_argument("--rows", nargs="+", default=[], metavar="ROW", help="gamma=0, fixed, val, oracle (all)")
    parser.add_argument("--output", metavar="STEM", help="also write STEM.txt, .md, .tex and (a figure a line) .csv")
    args = parser.parse_intermixed_args(argv)
    return run_command(lambda: run(args))


def run(args: argparse.Namespace) -> None:
    """Logs the table of ``args.runs`` and writes it where ``args.output`` says.

    Raises:
        DataError: runs that cannot be read; the others are in the table.
    """
    entries, errors = read_sound(read_entry, args.runs)
    known = {row for entry in entries for row in entry.names}
    if unknown := [row for row in args.rows if row not in known]:
        raise DataError(f"no run has a row {unknown[0]}; they have {', '.join(sorted(known))}")
    table = comparison_wide(entries, args.rows)
    log.info("%s", table.text())
    if args.output:
        forms = {".txt": table.text(), ".md": table.markdown(), ".tex": table.latex()}
        for suffix, text in {**forms, ".csv": comparison_tidy(entries, args.rows).csv().rstrip("\n")}.items():
            write_text(f"{Path(args.output)}{suffix}", text + "\n")
        log.info("\nalso in %s.txt, .md, .tex and .csv", args.output)
    raise_all(errors)


if __name__ == "__main__":
    sys.exit(main())
