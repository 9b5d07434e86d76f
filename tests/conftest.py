"""Fixtures: small data sets in the real files' formats, and the real ones where they are at hand."""

import os
from pathlib import Path

import pytest
import torch
from stand_ins import REPOSITORY, TinyData

torch.set_num_threads(1)  # the networks here are small: more threads only wait for each other


@pytest.fixture
def tiny(tmp_path):
    """A :class:`TinyData` under ``tmp_path/data``, with nothing written yet."""
    return TinyData(tmp_path / "data")


@pytest.fixture(scope="session")
def shared_data():
    """The folder of real data (``REZSL_DATA``, or ``shared/data`` beside the repository); skips where it is absent."""
    folder = Path(os.environ.get("REZSL_DATA", REPOSITORY.parent / "shared" / "data"))
    if not (folder / "xlsa17").is_dir():
        pytest.skip("the real data are not at hand")
    return folder


@pytest.fixture(scope="session")
def demo_root(tmp_path_factory):
    """A folder with the demo data set, written once a session."""
    from REZSL.data.demo import write_demo

    root = tmp_path_factory.mktemp("demo")
    write_demo(root)
    return root


@pytest.fixture
def fake_gs(tmp_path, monkeypatch):
    """A path that is there once somebody started the program ``gs``, which fails."""
    from PIL import EpsImagePlugin

    started, program = tmp_path / "started", tmp_path / "bin" / "gs"
    program.parent.mkdir()
    program.write_text(f"#!/bin/sh\necho \"$@\" >> '{started}'\nexit 1\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(program.parent), prepend=os.pathsep)
    monkeypatch.setattr(EpsImagePlugin, "gs_binary", None, raising=False)  # what Pillow remembers
    return started


@pytest.fixture(autouse=True)
def _same_random_numbers():
    torch.manual_seed(0)
