"""An error in a loading process, or of the training beside some: the run ends, with one line."""

from collections.abc import Callable

from .place import FROZEN, Place, failing


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


def out_of_memory_with_loading_processes(place: Place) -> None:
    before = failing("import torch; raise torch.OutOfMemoryError('CUDA out of memory.')")
    place.start(before=before).ends(1, "error: CUDA out of memory.: lower")


def a_mistake_in_the_code_with_loading_processes(place: Place) -> None:
    place.start(before=failing("raise ZeroDivisionError")).ends(1, "ZeroDivisionError")


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
]
