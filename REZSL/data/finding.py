"""What a check of the data has to say."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass

from REZSL.utils.errors import DataError

log = logging.getLogger(__name__)

LEVELS = ("ok", "note", "warning", "error")


@dataclass(frozen=True)
class Finding:
    """One thing found.

    Attributes:
        check: what was looked at, e.g. ``splits``.
        level: ``ok``; ``note``, worth knowing; ``warning``, a run goes on but look at this; ``error``, a run stops or
            its results are wrong.
        message: one line: what, where, and what to do.
    """

    check: str
    level: str
    message: str

    def __post_init__(self) -> None:
        if self.level not in LEVELS:
            raise ValueError(f"level is {self.level!r}, expected one of {', '.join(LEVELS)}")


def listed(items: Sequence[object], limit: int = 5) -> str:
    """The first ``limit`` items as text, and how many more there are."""
    text = ", ".join(map(str, items[:limit]))
    return f"{text} and {len(items) - limit} more" if len(items) > limit else text


def unless_worse(check: str, message: str, findings: Sequence[Finding]) -> list[Finding]:
    """``findings``, after an ``ok`` with ``message`` unless one of them is a warning or an error."""
    sound = not any(finding.level in ("warning", "error") for finding in findings)
    return [Finding(check, "ok", message)] * sound + list(findings)


def tell(findings: Sequence[Finding]) -> None:
    """Logs warnings and notes.

    Raises:
        DataError: there are errors: the first, and how many more.
    """
    errors = [finding.message for finding in findings if finding.level == "error"]
    if errors:
        more = f" ({len(errors) - 1} more: tools/check_data.py tells all)" if len(errors) > 1 else ""
        raise DataError(errors[0] + more)
    for finding in findings:
        if finding.level != "ok":
            log.log(logging.WARNING if finding.level == "warning" else logging.INFO, "%s", finding.message)
