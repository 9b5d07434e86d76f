"""Several processes under torchrun: they are of one run, or none starts; where one fails, all leave."""

import os
import signal
from collections.abc import Callable

from .place import FEATURES, Place, TinyData, failing


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
    processes_of_different("SEED", "6"),
    processes_of_different("SOLVER.BASE_LR", "0.5"),
    processes_of_different("DATALOADER.N_BATCH", "7"),
    processes_of_different_features,
    a_process_of_several_is_killed,
    a_process_of_several_fails,
]
