"""Epochs of a frozen backbone, its tokens kept or computed anew each time."""

import json
import re
import tempfile
from collections.abc import Sequence
from pathlib import Path

import torch
import train

from REZSL.config import load_config

from .timing import spread

DEMO = "config/AttentionNet/demo_AttentionNet.yaml"
FROZEN = ("MODEL.BACKBONE.FINETUNE", "False", "SOLVER.DATA_AUG", "resize_only", "SOLVER.MAX_EPOCH", "4")
SECONDS = re.compile(r" epoch .* ([\d.]+) s \((\d+) % waiting for data\) \+ ([\d.]+) s")  # of the log


def benchmark_train(config_file: str | None, overrides: Sequence[str]) -> dict:
    """Trains twice, with DATALOADER.TOKENS never and then with the tokens kept, and compares times and results.

    Args:
        config_file: an experiment with a frozen backbone and no random augmentation; None: the demo, frozen.
        overrides: KEY VALUE pairs that go before it.
    """
    overrides = [*(() if config_file else FROZEN), *overrides]
    figures: dict[str, dict] = {}
    with tempfile.TemporaryDirectory() as folder:
        for tokens in ("never", "auto"):
            own = ["DATALOADER.TOKENS", tokens, "DATALOADER.CACHE_DIR", f"{folder}/cache"]
            cfg = load_config(config_file or DEMO, [*overrides, *own, "OUTPUT_DIR", f"{folder}/{tokens}"])
            train.run(cfg)
            figures[tokens] = _read(Path(folder) / tokens)
    never, auto = (figures[tokens] for tokens in ("never", "auto"))
    later = [[line[0] + line[2] for line in each["seconds"][1:]] for each in (never, auto)]
    training = [[line[0] for line in each["seconds"][1:]] for each in (never, auto)]
    print(
        f"cpu, {torch.get_num_threads()} threads, torch {torch.__version__}; from the second epoch, median [quartiles]"
    )
    for name, (slow, fast) in {"training": training, "with evaluation": later}.items():
        ratio = [a / max(b, 0.01) for a, b in zip(slow, fast, strict=True)]  # the log has two decimals
        print(f"{name}: {spread(slow)} s an epoch, {spread(fast)} s with kept tokens, {spread(ratio)} times faster")
        figures[name] = {"ratio": ratio}
    waiting = [line[1] for line in auto["seconds"][1:]]
    print(f"waiting for data with kept tokens: {spread(waiting)} %")
    apart = max(abs(a - b) for a, b in zip(never["losses"], auto["losses"], strict=True))
    print(f"losses differ by at most {apart:.1e}; T1 {never['T1']:.4f} and {auto['T1']:.4f}")
    return figures


def _read(folder: Path) -> dict:
    found = SECONDS.findall((folder / "log.txt").read_text(encoding="utf-8"))
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    seconds = [tuple(map(float, line)) for line in found]
    return {"seconds": seconds, "losses": [line["loss"] for line in lines], "T1": lines[-1]["T1"]}
