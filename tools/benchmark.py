"""Measures REZSL against the plain form of the same computation, in the same run.

python tools/benchmark.py remse [--json FILE]
python tools/benchmark.py eval [--json FILE]
python tools/benchmark.py head [--json FILE]
"""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

import torch
from benchmarks.evaluation import benchmark_eval
from benchmarks.head import benchmark_head
from benchmarks.remse import benchmark_remse

from REZSL.utils.files import write_text

WHAT = {
    "remse": (benchmark_remse, "update and weights of a batch of 32 images"),
    "eval": (benchmark_eval, "a GZSL evaluation from scores"),
    "head": (benchmark_head, "a step of AttentionNet"),
}


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command line ``argv``."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=WHAT, help="; ".join(f"{name}: {text}" for name, (_, text) in WHAT.items()))
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the figures to FILE")
    parser.add_argument("--repeats", type=int, default=15, help="timings per figure (default 15)")
    args = parser.parse_args(argv)
    torch.manual_seed(0)
    figures = WHAT[args.what][0](args.repeats)
    if args.json:
        write_text(args.json, json.dumps(figures, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
