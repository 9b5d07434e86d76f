"""Too little memory or disk: told, and nothing lost."""

from collections.abc import Callable

from .place import Place


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


CASES: list[Callable[[Place], None]] = [
    small_shared_memory,
    shared_memory_that_fills_up,
    a_full_disk,
]
