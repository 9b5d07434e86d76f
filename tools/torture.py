"""Starts real command lines, does them harm, and looks whether each ends as it should: a slow test, a line a case.

python tools/torture.py
python tools/torture.py --only small_shared_memory sigterm_in_an_evaluation

A case is a function of :data:`CASES`: it gets a :class:`Place` of its own and raises AssertionError where something
ended otherwise, or ``NotHere`` where it cannot be tried. It takes some minutes; some cases need root, others Linux.
"""

import argparse
import os
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from torture_place import FEATURES, NotHere, Place, TinyData

FROZEN = "MODEL.BACKBONE.FINETUNE False SOLVER.DATA_AUG resize_crop"
STOPPED = "the same command with --resume goes on"


# an error in a loading process, or beside some


def a_damaged_image(place: Place) -> None:
    place.damage(place.train_image)
    place.start().ends(1, "does not decode")


def a_damaged_image_in_validation(place: Place) -> None:
    place.damage(place.train_image)
    place.start("--protocol", "val").ends(1, "does not decode")


def a_damaged_image_in_an_evaluation(place: Place) -> None:
    place.damage(place.test_image)
    run = place.start()
    run.ends(1, "does not decode")
    assert place.checkpoint()["epoch"] == 1, "the epoch before the evaluation is not saved"


def a_damaged_image_in_the_token_pass(place: Place) -> None:
    place.damage(place.train_image)
    place.start(*FROZEN.split()).ends(1, "does not decode")


def a_damaged_image_in_spawned_processes(place: Place) -> None:
    place.damage(place.train_image)
    place.start(before="import multiprocessing; multiprocessing.set_start_method('spawn')").ends(1, "does not decode")


def a_damaged_image_under_torchrun(place: Place) -> None:
    place.damage(place.train_image)
    place.start(processes=2).ends(1, "does not decode")


def a_damaged_image_in_an_evaluation_under_torchrun(place: Place) -> None:
    place.damage(place.test_image)
    place.start(processes=2).ends(1, "does not decode")


def a_loading_process_is_killed(place: Place) -> None:
    run = place.start("DATALOADER.N_BATCH", "100000", *place.saving_often).waits_for(place.last)
    run.kill_a_loading_process()
    run.ends(1, "a loading process has died")


def a_loading_process_is_killed_under_torchrun(place: Place) -> None:
    run = place.start("DATALOADER.N_BATCH", "100000", *place.saving_often, processes=2).waits_for(place.last)
    run.kill_a_loading_process()
    run.ends(1, "a loading process has died")


def an_image_that_never_comes(place: Place) -> None:
    place.start("DATALOADER.TIMEOUT", "3", before=place.hanging(place.train_image)).ends(
        1, "no batch came within DATALOADER.TIMEOUT"
    )


def failing(what: str) -> str:
    """Code that goes before a command: its first step ends so."""
    return f"from REZSL.engine import Trainer\ndef fails(*_, **__):\n  {what}\nTrainer._after_step = fails"


def out_of_memory_with_loading_processes(place: Place) -> None:
    before = failing("import torch; raise torch.OutOfMemoryError('CUDA out of memory.')")
    place.start(before=before).ends(1, "error: CUDA out of memory.: lower")


def a_mistake_in_the_code_with_loading_processes(place: Place) -> None:
    place.start(before=failing("raise ZeroDivisionError")).ends(1, "ZeroDivisionError")


# signals


def sigterm_in_a_step(place: Place) -> None:
    run = place.start("DATALOADER.N_BATCH", "100000", *place.saving_often).waits_for(place.last)
    run.send(signal.SIGTERM)
    run.ends(143, f"last.pth is as of the end of step .*{STOPPED}")


def sigterm_in_an_evaluation(place: Place) -> None:
    """The epoch before it is saved, and what goes on ends as a run that was never stopped."""
    place.start(folder="whole").ends(0)
    run = place.start(before=place.hanging(place.test_image)).waits_for(place.last)
    time.sleep(1)
    run.send(signal.SIGTERM)
    run.ends(143, f"last.pth is as of the end of epoch 1.*{STOPPED}")
    place.start("--resume").ends(0)
    for name in ("metrics.jsonl", "results.json", "predictions.npz"):
        ours, theirs = ((place.root / folder / name).read_bytes() for folder in ("run", "whole"))
        assert ours == theirs, f"{name} is another than that of a run never stopped"


def sigterm_in_an_evaluation_under_torchrun(place: Place) -> None:
    run = place.start(processes=2, before=place.hanging(place.test_image)).waits_for(place.last)
    time.sleep(1)
    run.send(signal.SIGTERM)
    run.ends(1, f"last.pth is as of the end of epoch 1.*{STOPPED}")


def sigterm_while_waiting_for_data(place: Place) -> None:
    run = place.start("DATALOADER.NUM_WORKERS", "0", before=place.hanging(place.train_image)).waits_for("run folder")
    time.sleep(3)
    run.send(signal.SIGTERM)
    run.ends(143, f"({STOPPED}|nothing was saved)")


def sigterm_in_the_token_pass(place: Place) -> None:
    hanging = place.hanging(place.train_image)
    run = place.start(*FROZEN.split(), "TEST.IMS_PER_BATCH", "3", before=hanging).waits_for("run folder")
    time.sleep(1)
    run.send(signal.SIGTERM)
    run.ends(143, STOPPED)


def two_interrupts_while_images_are_checked(place: Place) -> None:
    """Nothing was saved, and nothing else is said; a thread that hangs holds up the first, not the second."""
    run = place.start("DATASETS.CHECK_IMAGES", "True", before=place.hanging(place.train_image)).waits_for("trainval")
    for _ in range(2):
        time.sleep(2)
        run.send(signal.SIGINT)
    said = run.ends(130, "nothing was saved since the start")
    assert "is as of the end" not in said, "it claims to have saved"


def two_interrupts_in_a_step(place: Place) -> None:
    before = "import time; from REZSL.engine import Trainer\noriginal = Trainer._train_batch\n"
    before += "def slow(*a):\n  original(*a)\n  print('in a step', flush=True)\n  time.sleep(600)\n"
    run = place.start(before=before + "Trainer._train_batch = slow").waits_for("in a step")
    for _ in range(2):
        run.send(signal.SIGINT)
        time.sleep(2)
    run.ends(130, "stopped at once; nothing was saved since the start")


def a_closed_terminal(place: Place) -> None:
    run = place.start("DATALOADER.N_BATCH", "100000", *place.saving_often).waits_for(place.last)
    run.send(signal.SIGHUP)
    run.ends(129, f"last.pth is as of the end of step .*{STOPPED}")


def sigusr1_saves_and_goes_on(place: Place) -> None:
    run = place.start("DATALOADER.N_BATCH", "2000", "SOLVER.MAX_EPOCH", "1", *FEATURES).waits_for("run folder")
    run.send(signal.SIGUSR1)
    run.ends(0, "all files are in")
    assert place.checkpoint("last-1.pth")["step"] > 0, "it did not save when it was asked"


def nobody_reads_the_output(place: Place) -> None:
    """As ``| head -1``: the run goes on to its end, and its log has all of it."""
    run = place.start("SOLVER.MAX_EPOCH", "3", *FEATURES, read_lines=1)
    run.ends(0)
    assert "epoch 3/3" in (place.run / "log.txt").read_text(), "the log is cut"


# memory and disk


def small_shared_memory(place: Place) -> None:
    place.start("DATASETS.IMAGE_SIZE", "224", mounts={"/dev/shm": "1m"}).ends(1, "needs up to .* MB of shared memory")


def shared_memory_that_fills_up(place: Place) -> None:
    fill = f"(until [ -e {place.last} ]; do sleep 0.05; done; head -c 64m /dev/zero > /dev/shm/fill) 2> /dev/null &"
    words = "DATALOADER.N_BATCH", "100000", *place.saving_often
    run = place.start(*words, mounts={"/dev/shm": "32m"}, shell=fill)
    run.ends(1, "cannot be handed over in shared memory|a loading process has died")


def a_full_disk(place: Place) -> None:
    place.run.mkdir()
    run = place.start(mounts={str(place.run): "20m"})
    run.ends(1, r"error: cannot write .*/run/last\.pth: No space left on device")


# several processes


def processes_of_different(key: str, others: str, *options: str) -> Callable[[Place], None]:
    def case(place: Place) -> None:
        run = place.start(*FEATURES, *options, processes=2, second=[key, others])
        run.ends(1, f"the processes of this run differ: {key} is .* in process 1")

    case.__name__ = f"processes_of_different_{key.rpartition('.')[2]}"
    return case


def processes_of_different_features(place: Place) -> None:
    other = TinyData(place.root / "other")
    other.res101["features"][0, 0] += 1
    other.write()
    run = place.start(*FEATURES, processes=2, second=["DATASETS.ROOT", str(other.root)])
    run.ends(1, "the processes of this run differ: the features is .* in process 1")


def a_process_of_several_is_killed(place: Place) -> None:
    run = place.start("DATALOADER.N_BATCH", "100000", *FEATURES, *place.saving_often, processes=2).waits_for(place.last)
    os.kill(max(run.ranks()), signal.SIGKILL)
    run.ends(1)


def a_process_of_several_fails(place: Place) -> None:
    before = failing("if os.environ['RANK'] == '1': raise ZeroDivisionError")
    run = place.start("DATALOADER.N_BATCH", "1000", *FEATURES, processes=2, before=before)
    run.ends(1, "ZeroDivisionError")


CASES: list[Callable[[Place], None]] = [
    a_damaged_image,
    a_damaged_image_in_validation,
    a_damaged_image_in_an_evaluation,
    a_damaged_image_in_the_token_pass,
    a_damaged_image_in_spawned_processes,
    a_damaged_image_under_torchrun,
    a_damaged_image_in_an_evaluation_under_torchrun,
    a_loading_process_is_killed,
    a_loading_process_is_killed_under_torchrun,
    an_image_that_never_comes,
    out_of_memory_with_loading_processes,
    a_mistake_in_the_code_with_loading_processes,
    sigterm_in_a_step,
    sigterm_in_an_evaluation,
    sigterm_in_an_evaluation_under_torchrun,
    sigterm_while_waiting_for_data,
    sigterm_in_the_token_pass,
    two_interrupts_while_images_are_checked,
    two_interrupts_in_a_step,
    a_closed_terminal,
    sigusr1_saves_and_goes_on,
    nobody_reads_the_output,
    small_shared_memory,
    shared_memory_that_fills_up,
    a_full_disk,
    processes_of_different("SEED", "6"),
    processes_of_different("SOLVER.BASE_LR", "0.5"),
    processes_of_different("DATALOADER.N_BATCH", "7"),
    processes_of_different_features,
    a_process_of_several_is_killed,
    a_process_of_several_fails,
]


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
