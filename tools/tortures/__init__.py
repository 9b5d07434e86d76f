"""The cases of tools/torture.py, a module for each kind of harm."""
