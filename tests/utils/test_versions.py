import shutil

import torch

from REZSL.utils import versions


def test_the_hash_is_of_every_source_file(tmp_path, monkeypatch):
    first = versions.code_versions()
    assert first["torch"].split("+")[0] == torch.__version__.split("+")[0]
    assert set(first) == {"the code of REZSL", "torch", "torchvision", "numpy", "pillow"}
    copy = tmp_path / "REZSL"
    shutil.copytree(versions.PACKAGE, copy)
    monkeypatch.setattr(versions, "PACKAGE", copy)
    assert versions.code_versions() == first
    with open(copy / "modeling" / "heads.py", "a") as file:
        file.write("# changed\n")
    assert versions.code_versions()["the code of REZSL"] != first["the code of REZSL"]
