"""Two runs started at once on one folder: one trains, the other is told."""

import json
import multiprocessing
import os
import subprocess
import sys

import pytest
import train
import yaml
from stand_ins import REPOSITORY

from REZSL.utils.lock import Owner

EXPERIMENT = {
    "MODEL": {"DEVICE": "cpu", "BACKBONE": {"TYPE": "features"}},
    "DATASETS": {"NAME": "TINY", "INPUT": "features", "WAYS": 2, "SHOTS": 2},
    "DATALOADER": {"NUM_WORKERS": 0, "N_BATCH": 2},
    "SOLVER": {"MAX_EPOCH": 4, "BASE_LR": 0.05},
}
pytestmark = pytest.mark.skipif(not Owner.this_process().place, reason="processes are known by /proc")


@pytest.fixture
def words(tiny, tmp_path):
    """``words(name, ...)``: a command line for a run into ``tmp_path/name``."""
    tiny.write()
    experiment = tmp_path / "experiment.yaml"
    experiment.write_text(yaml.safe_dump(EXPERIMENT))

    def words(name, *more):
        where = ["OUTPUT_DIR", str(tmp_path / name), "DATASETS.ROOT", str(tiny.root)]
        return ["--config-file", str(experiment), *where, *more]

    return words


def both(*command_lines):
    """The exit statuses and the outputs of command lines that start at once, each in a process of its own."""
    context = multiprocessing.get_context("fork")
    start, ends = context.Barrier(len(command_lines)), [context.Pipe(duplex=False) for _ in command_lines]

    def work(words, end):
        read, write = os.pipe()
        os.dup2(write, 1)
        os.dup2(write, 2)
        sys.stdout, sys.stderr = os.fdopen(1, "w", closefd=False), os.fdopen(2, "w", closefd=False)
        start.wait()
        status = train.main(words)
        sys.stdout.flush(), sys.stderr.flush()
        end.send((status, os.read(read, 60_000).decode()))
        os._exit(0)

    processes = [
        context.Process(target=work, args=(words, end)) for words, (_, end) in zip(command_lines, ends, strict=True)
    ]
    for process in processes:
        process.start()
    told = [receive.recv() for receive, _ in ends]
    for process in processes:
        process.join()
    return told


def check_run(folder, seed):
    """Every file is of the run of ``seed``, which alone has trained."""
    assert yaml.safe_load((folder / "config.yaml").read_text())["SEED"] == seed
    assert json.loads((folder / "results.json").read_text())["seed"] == seed
    assert (folder / "log.txt").read_text().count("epoch 4/4") == 1
    assert len((folder / "metrics.jsonl").read_text().splitlines()) == 4
    assert not list(folder.glob(".*"))


def test_of_two_runs_at_once_one_trains(words, tmp_path):
    for name in "abc":
        told = both(*(words(name, "SEED", str(seed)) for seed in (1, 2)))
        assert sorted(status for status, _ in told) == [0, 1]
        (seed,) = (seed for seed, (status, _) in enumerate(told, 1) if status == 0)
        (said,) = (said for status, said in told if status)
        assert "is in use by process" in said or "already holds a run" in said
        assert "Traceback" not in said
        check_run(tmp_path / name, seed)


def test_of_two_that_go_on_at_once_one_trains(words, tmp_path):
    assert train.main(words("whole", "SEED", "1")) == 0
    assert train.main(words("run", "SEED", "1", "SOLVER.MAX_EPOCH", "2")) == 0
    longer = words("run", "SEED", "1", "--resume", "--accept-changes")
    told = both(longer, longer)
    assert sum("going on after" in said for _, said in told) == 1
    assert all("is in use by process" in said or "is finished already" in said or status == 0 for status, said in told)
    check_run(tmp_path / "run", 1)
    assert (tmp_path / "run/results.json").read_bytes() == (tmp_path / "whole/results.json").read_bytes()


def test_evaluations_at_once_have_a_folder_each(words, tmp_path):
    assert train.main(words("run")) == 0
    evaluation = words("run", "--eval-only", "MODEL.WEIGHT", str(tmp_path / "run" / "best.pth"))
    told = both(*[evaluation] * 4)
    assert [status for status, _ in told] == [0] * 4
    results = {path.parent.name: path.read_bytes() for path in tmp_path.glob("run/eval*/results.json")}
    assert sorted(results) == ["eval", "eval-2", "eval-3", "eval-4"]
    assert len(set(results.values())) == 1


@pytest.mark.slow
def test_twenty_pairs_of_command_lines(words, tmp_path):
    command = [sys.executable, str(REPOSITORY / "tools" / "train.py")]
    for pair in range(20):
        name = f"run{pair}"
        processes = [
            subprocess.Popen(
                [*command, *words(name, "SEED", str(seed))], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
            )
            for seed in (1, 2)
        ]
        said = [process.communicate(timeout=300)[0] for process in processes]
        statuses = [process.returncode for process in processes]
        assert sorted(statuses) == [0, 1], said
        assert "Traceback" not in "".join(said)
        check_run(tmp_path / name, 1 + statuses.index(0))
