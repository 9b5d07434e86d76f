"""Leaves of the package: they import nothing else of REZSL."""
