"""REZSL: zero-shot image classification by attribute regression, with the ReMSE loss.

The parts and what may import what: ``utils`` and ``config`` at the bottom; ``data``, ``modeling``, ``solver`` and
``report`` side by side; ``engine`` over built objects; ``tools/`` on top.
"""

__version__ = "0.1.0"
