"""The import rule, read from the source."""

import ast
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[1]
PACKAGE = REPOSITORY / "REZSL"
SOURCES = sorted(PACKAGE.rglob("*.py"))
OURS = {  # what of ours each part may import, beside itself
    "utils": set(),
    "config": {"utils"},
    "data": {"utils"},
    "modeling": {"utils"},
    "solver": {"utils"},
    "evaluation": {"utils"},
    "engine": {"utils", "data", "evaluation"},
    "report": {"utils", "evaluation"},
}


def imported(path):
    """The full names of the modules and members that the file imports, anywhere in it."""
    package = path.relative_to(REPOSITORY).parent.parts
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = ".".join(
                [*package[: len(package) + 1 - node.level], *filter(None, [node.module])]
                if node.level
                else [node.module]
            )
            names |= {f"{base}.{alias.name}" for alias in node.names}
    return names


def parts(names):
    """The parts of REZSL among ``names``: ``data`` of ``REZSL.data.splits.ZSLSplit``."""
    return {name.split(".")[1] for name in names if name.startswith("REZSL.")}


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.relative_to(PACKAGE).as_posix())
def test_a_part_imports_only_what_it_may(path):
    names = imported(path)
    assert "REZSL" not in names
    if path.parent != PACKAGE:
        part = path.relative_to(PACKAGE).parts[0]
        assert parts(names) <= OURS[part] | {part}
    elif path.name == "__init__.py":
        assert not parts(names)


def test_metrics_import_only_utils():
    assert parts(imported(PACKAGE / "evaluation" / "metrics.py")) <= {"utils"}


def test_engine_takes_built_objects():
    for path in (PACKAGE / "engine").glob("*.py"):
        assert not {name for name in imported(path) if name.endswith(("build", "build_data"))}, path


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.relative_to(PACKAGE).as_posix())
def test_only_builders_and_config_know_cfg(path):
    if path.name == "build.py" or path.parent.name == "config":
        return
    assert not {name for name in imported(path) if name.split(".")[0] == "yacs" or "REZSL.config" in name}
    named = {
        getattr(node, field, None) for node in ast.walk(ast.parse(path.read_text())) for field in ("id", "arg", "attr")
    }
    assert "cfg" not in named


def test_every_part_is_known():
    """A new folder must say what it may import."""
    assert {path.name for path in PACKAGE.iterdir() if (path / "__init__.py").exists()} == set(OURS)
