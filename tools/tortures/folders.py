"""Run folders: one run at a time in each, a dead one's is taken over, and no file of another is gone on with."""

import os
from collections.abc import Callable

from .place import FEATURES, FROZEN, Place


def two_runs_at_once(place: Place) -> None:
    _one_of_two(place, *FEATURES, "SOLVER.MAX_EPOCH", "30")


def two_that_go_on_at_once(place: Place) -> None:
    words = [*FEATURES, *place.saving_often, "DATALOADER.N_BATCH", "3000"]
    place.start(*words).waits_for(place.last).kill()
    _one_of_two(place, *words, "--resume")


def two_evaluations_at_once(place: Place) -> None:
    place.start(*FEATURES).ends(0)
    words = *FEATURES, "--eval-only", "MODEL.WEIGHT", str(place.run / "best.pth")
    for run in [place.start(*words) for _ in range(2)]:
        run.ends(0, "all files are in")
    found = sorted(path.parent.name for path in place.run.glob("eval*/results.json"))
    assert found == ["eval", "eval-2"], f"the evaluations are in {found}"


def a_killed_run_is_gone_on_with(place: Place) -> None:
    words = *FEATURES, *place.saving_often, "DATALOADER.N_BATCH", "3000"
    place.start(*words).waits_for(place.last).kill()
    (place.run / ".last.abcd1234.pth").write_bytes(b"half")
    place.start(*words, "--resume").ends(0, "which is dead: taken over")
    assert not list(place.run.glob(".last.*")), "what the killed run left half written is still there"


def a_checkpoint_that_was_left_over(place: Place) -> None:
    """A fresh run does not go on with it, and does not write over it."""
    place.start(*FEATURES, "SOLVER.MAX_EPOCH", "3").ends(0)
    for path in place.run.iterdir():
        if path.is_file() and path.name != "last-1.pth":
            path.unlink()
    before = (place.run / "last-1.pth").read_bytes()
    place.start(*FEATURES).ends(1, "already holds a run")
    assert (place.run / "last-1.pth").read_bytes() == before, "the checkpoint has changed"


def a_flipped_bit_of_the_kept_epoch(place: Place) -> None:
    place.start(*FEATURES).ends(0)
    path = place.run / "best.pth"
    content = bytearray(path.read_bytes())
    content[len(content) // 3] ^= 1
    path.write_bytes(content)
    place.start(*FEATURES, "--eval-only", "MODEL.WEIGHT", str(path)).ends(1, r"error: .*best\.pth")


def a_token_cache_that_lost_a_byte(place: Place) -> None:
    place.start(*FROZEN.split(), folder="whole").ends(0)
    (cache,) = (place.root / "cache").glob("*.arrays")
    os.truncate(cache, cache.stat().st_size - 1)
    place.start(*FROZEN.split()).ends(0, "is made anew")
    ours, theirs = ((place.root / folder / "predictions.npz").read_bytes() for folder in ("run", "whole"))
    assert ours == theirs, "the predictions are others"


def a_finished_run_is_made_longer(place: Place) -> None:
    place.start(*FEATURES, "SOLVER.MAX_EPOCH", "4", folder="whole").ends(0)
    place.start(*FEATURES).ends(0)
    place.start(*FEATURES, "SOLVER.MAX_EPOCH", "4", "--resume", "--accept-changes").ends(0, "epoch 4/4")
    ours, theirs = ((place.root / folder / "results.json").read_bytes() for folder in ("run", "whole"))
    assert ours == theirs, "the results are others than those of the long run"


def _one_of_two(place: Place, *words: str) -> None:
    runs = [place.start(*words) for _ in range(2)]
    statuses = sorted(run.process.wait(240) for run in runs)
    assert statuses == [0, 1], f"exit statuses {statuses}: {[run.said.read_text()[-300:] for run in runs]}"
    loser = next(run for run in runs if run.process.returncode == 1)
    loser.ends(1, "OUTPUT_DIR .*(is in use by process|already holds a run)")


CASES: list[Callable[[Place], None]] = [
    two_runs_at_once,
    two_that_go_on_at_once,
    two_evaluations_at_once,
    a_killed_run_is_gone_on_with,
    a_checkpoint_that_was_left_over,
    a_flipped_bit_of_the_kept_epoch,
    a_token_cache_that_lost_a_byte,
    a_finished_run_is_made_longer,
]
