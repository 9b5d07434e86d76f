"""Groups of related attributes, as GEMNet (Liu et al., CVPR 2021) divides those of the three data sets."""

from collections.abc import Sequence
from itertools import pairwise

from REZSL.utils.errors import ConfigError

_CUB_CUTS = (
    0, 9, 24, 39, 54, 58, 73, 79, 94, 105, 120, 135, 149, 152, 167, 182, 197, 212, 217, 222, 236, 240, 244, 248, 263,
    278, 293, 308, 312,
)  # fmt: skip

GROUPS: dict[str, list[list[int]]] = {
    "CUB": [[*range(start, end)] for start, end in pairwise(_CUB_CUTS)],
    "AWA2": [
        [*range(8)],
        [*range(8, 14)],
        [*range(14, 18)],
        [*range(18, 34), 44, 45],
        [*range(34, 44)],
        [*range(46, 51)],
        [*range(51, 63)],
        [*range(63, 78)],
        [*range(78, 85)],
    ],
    "SUN": [
        [*range(36)],
        [*range(36, 74), 80, 99],
        [*range(74, 80), *range(81, 85)],
        [*range(85, 99), 100, 101],
    ],
}


def attribute_groups(name: str, num_attributes: int, given: Sequence[Sequence[int]] = ()) -> list[list[int]]:
    """Returns the groups ``given`` in the config, or else those known for the data set ``name``.

    Raises:
        ConfigError: nothing given and nothing known, or a number that is no attribute, or one in two groups.
    """
    if not all(isinstance(group, (list, tuple)) for group in given):
        raise ConfigError(f"DATASETS.ATTRIBUTE_GROUPS must be a list of lists of attribute numbers, got {given!r}")
    groups = [list(group) for group in given or GROUPS.get(name, ())]
    if not groups:
        raise ConfigError(
            f"DATASETS.ATTRIBUTE_GROUPS is empty and no groups are known for {name!r} (only for {', '.join(GROUPS)}): "
            f"give lists of attribute numbers, or set MODEL.LOSS.LAMBDA2 0"
        )
    members = [k for group in groups for k in group]
    wrong = [k for k in members if not isinstance(k, int) or not 0 <= k < num_attributes]
    if wrong:
        raise ConfigError(f"DATASETS.ATTRIBUTE_GROUPS holds {wrong[0]!r}, not an attribute in 0..{num_attributes - 1}")
    if len(members) != len(set(members)) or not all(groups):
        raise ConfigError("DATASETS.ATTRIBUTE_GROUPS holds an empty group, or an attribute twice")
    return groups
