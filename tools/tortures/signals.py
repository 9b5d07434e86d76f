"""Signals at any moment: what was done is saved and told."""

import signal
import time
from collections.abc import Callable

from .place import FEATURES, FROZEN, STOPPED, Place


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


CASES: list[Callable[[Place], None]] = [
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
]
