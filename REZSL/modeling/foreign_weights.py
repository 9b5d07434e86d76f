"""Weights of other programs for the networks here: what a file holds, and which of our backbones reads it."""

import logging
from collections import Counter
from collections.abc import Callable

from torch import Tensor, nn

from REZSL.utils.errors import DataError, first_line
from REZSL.utils.torch_file import misfit, read_torch_file, unwrapped_state

from .weight_families import recognised

log = logging.getLogger(__name__)

KEY = "MODEL.BACKBONE.WEIGHTS"
PREFERRED = ("ema", "teacher", "encoder_q", "base_encoder", "online")  # of networks beside each other, these are meant
BY_PRODUCTS = (  # of self-supervised training, beside the network's own tensors
    *("mask_token", "decoder_", "queue", "projector.", "projection_head.", "predictor.", "prototypes."),
)


def read_weights(path: str) -> dict[str, Tensor]:
    """Reads the tensors of ``path`` by name, without wrappers and shared prefixes.

    Raises:
        DataError: it is missing, damaged, or holds none.
    """
    try:
        return unwrapped_state(read_torch_file(path), path)
    except DataError as error:
        raise DataError(f"{KEY}: {error}") from None


def named_as(network: nn.Module, state: dict[str, Tensor], source: str) -> dict[str, Tensor]:
    """Returns of ``state`` what is under the prefix that at least half of ``network``'s names have there.

    Of several such prefixes (a student's and its teacher's network) the one of :data:`PREFERRED` is taken, else the
    first. It and :data:`BY_PRODUCTS` are left out, and told.
    """
    wanted = set(network.state_dict())
    found = Counter(
        name[: len(name) - len(end)]
        for name in state
        for end in (name.split(".", n)[-1] for n in range(name.count(".") + 1))
        if end in wanted
    )
    most = max(found.values(), default=0)
    prefixes = [prefix for prefix, number in found.items() if number == most]
    prefix = min(prefixes, key=_rank, default="")
    if 2 * most < len(wanted) or "" in prefixes:
        prefix = ""
    under = {name[len(prefix) :]: value for name, value in state.items() if name.startswith(prefix)}
    kept = {name: value for name, value in under.items() if name in wanted or not name.startswith(BY_PRODUCTS)}
    if left := [name for name in state if name.removeprefix(prefix) not in kept or not name.startswith(prefix)]:
        told = f"the tensors under {prefix!r}" if prefix else "the network's tensors"
        log.info("%s: taken %s, without %d others, e.g. %s", source, told, len(left), left[0])
    elif prefix:
        log.info("%s: names without %r", source, prefix)
    return kept


def _rank(prefix: str) -> int:
    return next((n for n, word in enumerate(PREFERRED) if word in prefix), len(PREFERRED))


def load_weights(
    network: nn.Module, state: dict[str, Tensor], source: str, ignore: tuple[str, ...], kind: str, name: str
) -> None:
    """Loads all of ``state`` but the classifier; anything else missing, left over or misshapen is an error.

    Args:
        network: of the backbone.
        state: tensors by its names.
        source: the file.
        ignore: how the names of the classifier begin.
        kind: MODEL.BACKBONE.TYPE.
        name: MODEL.BACKBONE.NAME.

    Raises:
        DataError: saying what the file holds and which TYPE and NAME read it, where that is known.
    """
    state = {key: value for key, value in state.items() if not key.startswith(ignore)}
    wanted = {key: value for key, value in network.state_dict().items() if not key.startswith(ignore)}
    counters = {
        key: value for key, value in wanted.items() if key.endswith("num_batches_tracked")
    }  # old files lack them
    if problem := misfit(wanted, {**counters, **state}):
        raise DataError(f"{KEY}: {source} {problem}: {_advice(state, kind, name)}")
    try:
        network.load_state_dict(state, strict=False)
    except (RuntimeError, TypeError) as error:
        raise DataError(f"{KEY}: {source} does not fit: {first_line(error)}") from None


def adapted(
    adapt: Callable[[dict, nn.Module], dict], state: dict[str, Tensor], network: nn.Module, source: str, name: str
) -> dict[str, Tensor]:
    """``adapt(state, network)``, timm's own, which may stumble over anything but its own names."""
    try:
        return adapt(state, network)
    except Exception as error:
        problem = f"timm cannot adapt its tensors to {name} ({type(error).__name__})"
        raise DataError(f"{KEY}: {source}: {problem}: {_advice(state, 'timm', name)}") from None


def _advice(state: dict[str, Tensor], kind: str, name: str) -> str:
    what, fits = recognised(state)
    if what is None:
        return "another model?"
    if fits == (kind, name.removeprefix("timm/").split(".")[0]):
        return f"another model? It looks like {what}"
    if fits is None:
        return f"it holds {what}"
    key = f"MODEL.BACKBONE.NAME {fits[1]}" if fits[0] == kind else f"MODEL.BACKBONE.TYPE {fits[0]} and NAME {fits[1]}"
    return f"it holds {what}: set {key}"
