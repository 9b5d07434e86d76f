"""Experiment files of the published code: what each said, and what it comes to here."""

import logging

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from stand_ins import PUBLISHED_KEYS, REPOSITORY
from yacs.config import CfgNode

from REZSL.config import flat, get_defaults, load_config
from REZSL.utils.errors import ConfigError

RESNET = {  # what all of ReZSL's AttentionNet files say that are for CUB and a ResNet
    "OUTPUT_DIR": "checkpoints/cub_16w_2s",
    "LOG_FILE_NAME": "AttentionNet(resnet,hid:0)_SGD(lr=5e-4)_NCE+0.1ReMSE(0.75,0.0)_seed=214.log",
    "MODEL_FILE_NAME": "AttentionNet(resnet,hid:0)_SGD(lr=5e-4)_NCE+0.1ReMSE(0.75,0.0)_seed=214.pth",
    "SEED": 214,
    "MODEL.META_ARCHITECTURE": "AttentionNet",
    "MODEL.SCALE": 20.0,
    "MODEL.HID_DIM": 0,
    "MODEL.BACKBONE.PRETRAINED": True,
    "MODEL.BACKBONE.FINETUNE": True,
    "MODEL.BACKBONE.TYPE": "resnet",
    "MODEL.ATTENTION.CHANNEL": 512,
    "MODEL.ATTENTION.WEIGHT_SHARED": True,
    "MODEL.ATTENTION.W2V_PATH": "/Dataset/Attribute/w2v",
    "MODEL.LOSS.LAMBDA0": 1.0,
    "MODEL.LOSS.LAMBDA1": 0.1,
    "MODEL.LOSS.LAMBDA2": 0.0,
    "MODEL.LOSS.LAMBDA3": 0.0,
    "MODEL.LOSS.REG_NORM": True,
    "MODEL.LOSS.REG_TYPE": "MSE",
    "MODEL.REZSL.USE": True,
    "MODEL.REZSL.P": 0.0,
    "MODEL.REZSL.P2": 0.0,
    "MODEL.REZSL.WEIGHT_TYPE": "in_batch",
    "DATASETS.NAME": "CUB",
    "DATASETS.IMAGE_SIZE": 448,
    "DATASETS.WAYS": 16,
    "DATASETS.SHOTS": 2,
    "DATASETS.SEMANTIC": "original",
    "DATASETS.SEMANTIC_TYPE": "GBU",
    "DATALOADER.MODE": "episode",
    "DATALOADER.N_BATCH": 300,
    "SOLVER.MAX_EPOCH": 30,
    "SOLVER.BASE_LR": "5e-4",  # text to YAML, which wants a dot in a number
    "SOLVER.WEIGHT_DECAY": "1e-5",
    "SOLVER.MOMENTUM": 0.9,
    "SOLVER.GAMMA": 0.1,
    "SOLVER.STEPS": 10,
    "SOLVER.DATA_AUG": "resize_random_crop",
    "TEST.IMS_PER_BATCH": 32,
    "TEST.DATA_AUG": "resize_crop",
}
VIT = {"MODEL.BACKBONE.TYPE": "vit", "DATASETS.IMAGE_SIZE": 224}
SUN = {"DATASETS.NAME": "SUN", "MODEL.SCALE": 25.0, "SOLVER.GAMMA": 0.5}
AWA2 = {
    "DATASETS.NAME": "AWA2", "SEED": 1514, "MODEL.HID_DIM": 4096, "SOLVER.GAMMA": 0.5, "SOLVER.BASE_LR": "1e-4",
    "MODEL.LOSS.LAMBDA1": 1.0, "MODEL.REZSL.P": 1.0, "DATASETS.SEMANTIC_TYPE": None, "TEST.GAMMA": 3.5,
}  # fmt: skip
AWA2_VIT = AWA2 | VIT | {
    "MODEL.LOSS.LAMBDA1": 0.1, "MODEL.REZSL.P": 0.0, "DATASETS.SEMANTIC_TYPE": "GBU", "TEST.GAMMA": None,
}  # fmt: skip


def remse(lambda1, p, p2, weight_type="in_batch"):
    keys = ("MODEL.LOSS.LAMBDA1", "MODEL.REZSL.P", "MODEL.REZSL.P2", "MODEL.REZSL.WEIGHT_TYPE")
    return dict(zip(keys, (lambda1, p, p2, weight_type), strict=True))


ELSEWHERE = {"MODEL.ATTENTION.W2V_PATH": "/Data/Attribute/w2v"}
VERSIONS = {  # in the history of FouriYe/ReZSL-TIP23, by data set, backbone and order; None: a key that is not there
    "cub-1": remse(0.1, 0.75, 0.0, "cross_batch") | ELSEWHERE,
    "cub-2": remse(0.1, 0.75, 0.0, "cross_batch"),
    "cub-last": remse(0.25, 0.1, 0.75),
    "sun-1": SUN | remse(1.0, 1.25, 0.0) | ELSEWHERE,
    "sun-last": SUN | remse(0.1, 0.1, 0.0),
    "awa-1": AWA2 | {"SOLVER.BASE_LR": "5e-5"} | ELSEWHERE,
    "awa-2": AWA2 | {"SOLVER.BASE_LR": "5e-5"},
    "awa-3": AWA2,
    "awa-last": AWA2 | {"MODEL.REZSL.P2": 0.1},
    "cub-vit-1": VIT | remse(1.0, 0.0, 0.0, "cross_batch"),
    "cub-vit-last": VIT,
    "sun-vit-1": SUN | VIT | remse(0.01, 1.0, 0.5, "cross_batch") | {"DATASETS.SEMANTIC_TYPE": None, "TEST.GAMMA": 0.7},
    "sun-vit-last": SUN | VIT,
    "awa-vit-1": AWA2_VIT | remse(0.1, 0.1, 0.1, "cross_batch") | {"MODEL.HID_DIM": 0},
    "awa-vit-last": AWA2_VIT,
}  # fmt: skip
GEM_ZSL = {  # what all of GEM-ZSL's files say
    "OUTPUT_DIR": "checkpoints/cub_4w_2s_6",
    "LOG_FILE_NAME": "GEM.log",
    "MODEL_FILE_NAME": "best_model.pth",
    "MODEL.META_ARCHITECTURE": "GEMModel",
    "MODEL.SCALE": 20.0,
    "MODEL.BACKBONE.PRETRAINED": True,
    "MODEL.ATTENTION.CHANNEL": 512,
    "MODEL.ATTENTION.WEIGHT_SHARED": True,
    "MODEL.ATTENTION.W2V_PATH": "datasets/Attribute/w2v",
    "MODEL.LOSS.LAMBDA1": 1.0,
    "MODEL.LOSS.LAMBDA2": 0.1,
    "MODEL.LOSS.LAMBDA3": 0.2,
    "DATASETS.NAME": "CUB",
    "DATASETS.IMAGE_SIZE": 448,
    "DATASETS.WAYS": 4,
    "DATASETS.SHOTS": 2,
    "DATALOADER.MODE": "episode",
    "DATALOADER.N_BATCH": 300,
    "SOLVER.MAX_EPOCH": 15,
    "SOLVER.BASE_LR": "1e-3",
    "SOLVER.WEIGHT_DECAY": "1e-5",
    "SOLVER.MOMENTUM": 0.9,
    "SOLVER.GAMMA": 0.5,
    "SOLVER.STEPS": 10,
    "SOLVER.DATA_AUG": "resize_random_crop",
    "TEST.IMS_PER_BATCH": 100,
    "TEST.DATA_AUG": "resize_crop",
    "TEST.GAMMA": 0.7,
}
DEFAULTS = {  # of the published code, where they are not ours
    "OUTPUT_DIR": ".",
    "PRETRAINED_MODELS": "./pretrained_models",
    "MODEL.DEVICE": "cuda",
    "MODEL.GPU": 0,
    "MODEL.ATTENTION.CHANNEL": 512,
    "MODEL.ATTENTION.W2V_PATH": "/Dataset/Attribute/w2v",
    "DATASETS.SHOTS": 4,
    "DATALOADER.N_BATCH": 1000,
    "SOLVER.MAX_EPOCH": 100,
    "SOLVER.BIAS_LR_FACTOR": 2,
    "SOLVER.WEIGHT_DECAY_BIAS": 0,
    "SOLVER.GAMMA": 0.5,
    "SOLVER.CHECKPOINT_PERIOD": 50,
}
TRANSLATED = {"SEED", "MODEL.ATTENTION.CHANNEL", "MODEL.BACKBONE.TYPE"}


def nested(values):
    tree = CfgNode()
    for key, value in values.items():
        *sections, leaf = key.split(".")
        node = tree
        for section in sections:
            node = node.setdefault(section, CfgNode())
        node[leaf] = value
    return tree


@pytest.fixture
def load(tmp_path, caplog):
    """``load(values, overrides)`` -> the flat config of a file with them, and all that was told."""

    def load(values, *overrides):
        file = tmp_path / "published.yaml"
        file.write_text(yaml.safe_dump(as_plain(nested({k: v for k, v in values.items() if v is not None}))))
        caplog.clear()
        with caplog.at_level(logging.WARNING):
            cfg = load_config(file, overrides)
        return flat(cfg), caplog.text

    return load


def as_plain(node):
    return {key: as_plain(value) if isinstance(value, CfgNode) else value for key, value in node.items()}


def number(value):
    return float(value) if isinstance(value, str) and value[:1].isdigit() else value


def assert_means_what_it_meant(values, found, told):
    for key, value in values.items():
        if value is not None and key not in TRANSLATED:
            assert found[key] == number(value), key
    is_awa2, is_vit = values["DATASETS.NAME"] == "AWA2", values["MODEL.BACKBONE.TYPE"] == "vit"
    assert found["MODEL.ATTENTION.CHANNEL"] == (300 if is_awa2 else 1024)
    assert found["SEED"] == found["SOLVER.SEED"] == 214
    assert (found["SOLVER.STEP_OFFSET"], found["SOLVER.BIAS_LR_FACTOR"]) == (1, 1)
    assert found["SOLVER.WEIGHT_DECAY_BIAS"] == found["SOLVER.WEIGHT_DECAY"] == 1e-5
    backbone = {key: found[f"MODEL.BACKBONE.{key}"] for key in ("TYPE", "NAME", "MEAN", "STD")}
    if is_vit:
        mean, std = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]
        name = "vit_base_patch16_224.augreg_in21k_ft_in1k"
        assert backbone == {"TYPE": "timm", "NAME": name, "MEAN": mean, "STD": std}
    else:
        assert backbone == {"TYPE": "resnet", "NAME": "", "MEAN": [], "STD": []}
    assert "CHANNEL 512 never acted" in told and "an epoch early" in told and "TEST.SELECT oracle" in told
    assert ("timm's vit_base_patch16_224" in told) == is_vit
    assert ("SEED 1514 never acted" in told) == is_awa2
    assert ("multiplied by 0.125" in told) == (is_awa2 and not is_vit)
    assert ("cross_batch ran as in_batch" in told) == (values["MODEL.REZSL.WEIGHT_TYPE"] == "cross_batch")


@pytest.mark.parametrize("version", VERSIONS)
def test_a_published_version_means_what_it_meant(load, version):
    values = RESNET | VERSIONS[version]
    found, told = load(values)
    assert_means_what_it_meant(values, found, told)
    assert all(line.count("published.yaml, a file of the published code: ") == 1 for line in told.splitlines())


@given(
    values=st.fixed_dictionaries(
        {
            "MODEL.LOSS.LAMBDA1": st.floats(0, 10),
            "MODEL.REZSL.P": st.floats(0, 3),
            "MODEL.REZSL.P2": st.floats(0, 3),
            "MODEL.REZSL.WEIGHT_TYPE": st.sampled_from(["in_batch", "cross_batch"]),
            "MODEL.HID_DIM": st.sampled_from([0, 4096]),
            "SOLVER.BASE_LR": st.sampled_from(["5e-4", "1e-4", "5e-5", 0.001]),
            "MODEL.ATTENTION.W2V_PATH": st.sampled_from(["/Dataset/Attribute/w2v", "/Datasets/Attribute/w2v"]),
            "DATASETS.SEMANTIC_TYPE": st.sampled_from([None, "GBU"]),
            "TEST.GAMMA": st.sampled_from([None, 0.7, 3.5]),
        }
    ),
    of=st.sampled_from([{}, SUN, AWA2, VIT, SUN | VIT, AWA2_VIT]),
)
@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_so_does_any_mixture_of_what_the_versions_say(load, of, values):
    values = RESNET | of | values
    assert_means_what_it_meant(values, *load(values))


SHIPPED = {"cub-2": "2023/cub", "sun-1": "2023/sun", "awa-2": "2023/awa"} | {
    version: version[:3] for version in VERSIONS if version.endswith("last")
}


@pytest.mark.parametrize("version", SHIPPED)
def test_a_version_and_the_file_shipped_here_agree(load, version):
    """The last ones with config/AttentionNet, those of 2023 with config/AttentionNet/2023."""
    stem = f"{SHIPPED[version]}_16w_2s_AttentionNet" + "_VIT" * ("vit" in version)
    found, _ = load(RESNET | VERSIONS[version])
    shipped = flat(load_config(REPOSITORY / "config" / "AttentionNet" / f"{stem}.yaml"))
    differing = {key for key in found if found[key] != shipped[key]}
    differing -= {"OUTPUT_DIR", "LOG_FILE_NAME", "MODEL_FILE_NAME", "MODEL.ATTENTION.W2V_PATH"}
    if version == "awa-2":
        differing -= {"MODEL.ATTENTION.RATIO"}  # told, since the file does not say of which year it is
    elif version.startswith("awa"):
        differing -= {"SEED", "SOLVER.SEED"}  # a seed in our files acts
    assert differing == set()


@pytest.mark.parametrize(
    "differences",
    [
        {},
        {"DATASETS.NAME": "SUN", "MODEL.SCALE": 25.0, "MODEL.LOSS.LAMBDA1": 0.5, "SOLVER.MAX_EPOCH": 20},
        {"DATASETS.NAME": "AwA2", "SOLVER.MAX_EPOCH": 12, "TEST.GAMMA": 3.5},
    ],
    ids=["cub", "sun", "awa"],
)
def test_the_files_of_gem_zsl_load(load, differences):
    values = GEM_ZSL | differences
    found, told = load(values)
    for key in values.keys() - {"MODEL.META_ARCHITECTURE", "DATASETS.NAME"}:
        assert found[key] == number(values[key]), key
    assert (found["MODEL.META_ARCHITECTURE"], found["MODEL.GEM.REGRESSION"]) == ("GEMNet", "gaze")
    assert (found["MODEL.LOSS.REG_NORM"], found["DATASETS.SEMANTIC"]) == (False, "normalized")
    assert (found["SOLVER.STEP_OFFSET"], found["SEED"]) == (1, 214)
    assert found["DATASETS.NAME"] == values["DATASETS.NAME"].upper()
    assert "GEMModel is GEMNet with MODEL.GEM.REGRESSION gaze" in told
    assert ("AwA2 is AWA2 here" in told) == (values["DATASETS.NAME"] == "AwA2")
    assert "CHANNEL" not in told  # GEMNet has none


def published_dump(values):
    """The full config as a published log prints it."""
    ours = flat(get_defaults())
    keys = {section + key for section, keys in PUBLISHED_KEYS.items() for key in keys.split()}
    return nested({key: ours[key] for key in keys} | DEFAULTS | values)


def test_the_full_config_that_a_published_log_prints_loads(tmp_path, caplog):
    """Two seeds that disagree, MODEL.GPU, keys that were never read, texts that are empty."""
    values = RESNET | AWA2 | {"DATASETS.SEMANTIC_TYPE": "GBU", "SOLVER.BASE_LR": 1e-4, "SOLVER.WEIGHT_DECAY": 1e-5}
    file = tmp_path / "from_log.yaml"
    file.write_text(str(published_dump(values)))
    assert "SEED: 1514" in file.read_text() and "SEED: 214" in file.read_text() and "  WEIGHT: \n" in file.read_text()
    with caplog.at_level(logging.WARNING):
        found = flat(load_config(file))
    assert_means_what_it_meant(values, found, caplog.text)
    left_out = ("MODEL.GPU 0", "SOLVER.BIAS_LR_FACTOR 2", "SOLVER.WEIGHT_DECAY_BIAS 0", "SOLVER.SEED 214")
    assert all(text in caplog.text for text in left_out)
    assert (found["MODEL.WEIGHT"], found["MODEL.NAME"], found["SOLVER.CHECKPOINT_PERIOD"]) == ("", "", 1)


def test_a_value_that_no_published_file_has_acts(load):
    """Somebody began with a published file and changed it."""
    own = {
        "SEED": 7,
        "MODEL.ATTENTION.CHANNEL": 256,
        "SOLVER.BIAS_LR_FACTOR": 3.0,
        "SOLVER.WEIGHT_DECAY_BIAS": 0.5,
        "SOLVER.STEP_OFFSET": 0,
        "TEST.SELECT": "oracle",
    }
    found, told = load(RESNET | own)
    assert {key: found[key] for key in own} == own and found["SOLVER.SEED"] == 7
    assert not any(text in told for text in ("CHANNEL", "SEED", "left out", "TEST.SELECT"))
    found, _ = load(RESNET | VIT | {"MODEL.BACKBONE.NAME": "vit_l_16"})
    assert (found["MODEL.BACKBONE.TYPE"], found["MODEL.BACKBONE.NAME"]) == ("vit", "vit_l_16")


def test_the_command_line_goes_before_what_the_published_code_did(load):
    found, _ = load(RESNET, "MODEL.ATTENTION.CHANNEL", "512", "SEED", "1514", "SOLVER.STEP_OFFSET", "0")
    assert (found["MODEL.ATTENTION.CHANNEL"], found["SEED"], found["SOLVER.STEP_OFFSET"]) == (512, 1514, 0)


@pytest.mark.parametrize("version", ["cub-1", "awa-vit-1"])
@pytest.mark.parametrize("unknown_then", [(), ("SOLVER.STEP_OFFSET", "MODEL.GEM.REGRESSION", "MODEL.ATTENTION.RATIO")])
def test_the_config_of_a_run_from_a_published_file_is_ours(load, tmp_path, caplog, version, unknown_then):
    """Also that of a run of earlier code, which had fewer keys."""
    found, _ = load(RESNET | VERSIONS[version], "MODEL.ATTENTION.CHANNEL", "512", "SEED", "1514")
    file = tmp_path / "config.yaml"
    file.write_text(nested({key: value for key, value in found.items() if key not in unknown_then}).dump())
    caplog.clear()
    assert flat(load_config(file)) == found | {key: flat(get_defaults())[key] for key in unknown_then}
    assert caplog.text == ""


@pytest.mark.parametrize(
    ("values", "problem"),
    [
        ({"MODEL.GPU": 0}, "unknown key MODEL.GPU"),
        ({"SEED": 1514, "SOLVER.SEED": 214}, "SEED 1514 and SOLVER.SEED 214 disagree"),
        ({"MODEL.META_ARCHITECTURE": "GEMModel"}, "MODEL.META_ARCHITECTURE is 'GEMModel', expected one of"),
    ],
)
def test_files_of_ours_are_refused_as_ever(load, values, problem):
    with pytest.raises(ConfigError, match=problem):
        load(values)


def test_keys_of_files_of_ours_act(load):
    own = {"MODEL.ATTENTION.CHANNEL": 512, "SOLVER.BIAS_LR_FACTOR": 2.0, "SOLVER.WEIGHT_DECAY_BIAS": 0.0, "SEED": 1514}
    found, told = load({"MODEL.META_ARCHITECTURE": "AttentionNet"} | own)
    assert {key: found[key] for key in own} == own and found["SOLVER.STEP_OFFSET"] == 0 and told == ""


def test_the_readme_names_the_defaults_that_differ():
    """Those of keys that acted in the published code and change what a run comes to."""
    readme = (REPOSITORY / "README.md").read_text(encoding="utf-8")
    sentence = readme[readme.index("Keys that such a file leaves out") :].split("\n\n")[0].replace("\n", " ")
    ours = flat(get_defaults())
    without_effect = {"MODEL.GPU", "MODEL.DEVICE", "MODEL.ATTENTION.CHANNEL", "SOLVER.BIAS_LR_FACTOR"}
    without_effect |= {"SOLVER.WEIGHT_DECAY_BIAS", "SOLVER.CHECKPOINT_PERIOD", "OUTPUT_DIR", "PRETRAINED_MODELS"}
    for key in DEFAULTS.keys() - without_effect - {"MODEL.ATTENTION.W2V_PATH"}:
        assert f"`{key}` {ours[key]} (theirs {DEFAULTS[key]})" in sentence
    assert "`MODEL.ATTENTION.W2V_PATH`" in sentence
