import re
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from stand_ins import REPOSITORY

from REZSL.config import get_defaults, load_config
from REZSL.config.defaults import CHOICES, RETIRED
from REZSL.utils.errors import ConfigError

EXPERIMENTS = sorted((REPOSITORY / "config").rglob("*.yaml"))


def value_of(cfg, key):
    for part in key.split("."):
        cfg = cfg[part]
    return cfg


def as_yaml(key, text):
    *sections, leaf = key.split(".")
    opening = "".join("  " * depth + f"{section}:\n" for depth, section in enumerate(sections))
    return opening + "  " * len(sections) + f"{leaf}: {text}\n"


@pytest.fixture(params=["file", "command line"])
def load_one(request, tmp_path):
    """A function (key, text) -> config, setting the key in a file or on the command line, and the source's name."""
    if request.param == "command line":
        return lambda key, text: load_config(None, [key, text]), "command line"
    file = tmp_path / "experiment.yaml"

    def load(key, text):
        file.write_text(as_yaml(key, text), encoding="utf-8")
        return load_config(file)

    return load, str(file)


def refusal(*args):
    """The one-line text of the ConfigError that ``load_config(*args)`` raises."""
    with pytest.raises(ConfigError) as caught:
        load_config(*args)
    text = str(caught.value)
    assert len(text.splitlines()) == 1, text
    return text


# ---- reading


@pytest.mark.parametrize("file", EXPERIMENTS, ids=lambda file: file.stem)
def test_every_experiment_file_loads_sets_what_it_says_and_reloads(file, tmp_path):
    cfg = load_config(file)

    def compare(node, found):
        for name, value in node.items():
            if isinstance(value, dict):
                compare(value, found[name])
            else:
                assert found[name] == (type(found[name])(value) if isinstance(value, str) else value), name

    compare(yaml.safe_load(file.read_text(encoding="utf-8")), cfg)
    (tmp_path / "config.yaml").write_text(cfg.dump(), encoding="utf-8")
    assert load_config(tmp_path / "config.yaml") == cfg


def test_experiment_files_are_found():
    assert len(EXPERIMENTS) > 1


def test_override_beats_file_beats_defaults(tmp_path):
    file = tmp_path / "experiment.yml"
    file.write_text("SOLVER: {BASE_LR: 0.5, MAX_EPOCH: 7}\nDATASETS: {NAME: SUN}\n")
    cfg = load_config(file, ["SOLVER.BASE_LR", "0.25"])
    assert (cfg.SOLVER.BASE_LR, cfg.SOLVER.MAX_EPOCH, cfg.DATASETS.NAME) == (0.25, 7, "SUN")
    assert cfg.SOLVER.MOMENTUM == get_defaults().SOLVER.MOMENTUM


@pytest.mark.parametrize("text", ["", "# only a comment\n"])
def test_empty_file_gives_the_defaults(tmp_path, text):
    (tmp_path / "a.yaml").write_text(text)
    assert load_config(tmp_path / "a.yaml") == load_config() == get_defaults()


def test_config_is_frozen():
    with pytest.raises(AttributeError, match="immutable"):
        load_config().MODEL.SCALE = 3.0


@pytest.mark.parametrize(
    ("key", "text", "value"),
    [
        ("SOLVER.BASE_LR", "5e-4", 5e-4),  # text to YAML
        ("SOLVER.BASE_LR", "1", 1.0),
        ("MODEL.SCALE", "25", 25.0),
        ("MODEL.HID_DIM", "4096", 4096),
        ("MODEL.REZSL.USE", "True", True),
        ("MODEL.NAME", "7", "7"),
        ("MODEL.NAME", "5e-4", "5e-4"),
        ("OUTPUT_DIR", "runs/größe", "runs/größe"),
        ("MODEL.DEVICE", "cuda:1", "cuda:1"),
        ("MODEL.GPUS", "[0]", [0]),
        *(
            (f"MODEL.{key}", text, text)
            for key in ("NAME", "WEIGHT")
            for text in ("017", "1:30", "1_000", "0x10", "yes")
        ),
        ("OUTPUT_DIR", "2024-01-01", "2024-01-01"),
        ("MODEL.NAME", "True", "True"),
        ("SOLVER.BASE_LR", "1E-2", 0.01),
        ("SOLVER.BASE_LR", ".5", 0.5),
        *(("MODEL.REZSL.USE", text, True) for text in ("yes", "on", "TRUE", "true")),
        *(("MODEL.BACKBONE.FINETUNE", text, False) for text in ("no", "Off", "false")),
        ("MODEL.DEVICE", "mps", "mps"),
        ("DATASETS.ATTRIBUTE_GROUPS", "[[0, 1], [2]]", [[0, 1], [2]]),
    ],
)
def test_value_takes_the_type_of_its_default(load_one, key, text, value):
    load, _ = load_one
    found = value_of(load(key, text), key)
    assert found == value and type(found) is type(value)


# ---- refusing: the source, the key, the value, what is allowed


@pytest.mark.parametrize(
    ("key", "text", "said"),
    [
        ("SOLVER.BASE_LR", "fast", "'fast', expected a number > 0 and at most 1,000"),
        ("SOLVER.BASE_LR", "0", "0.0, expected a number > 0"),
        ("SOLVER.BASE_LR", "1e999", "inf, expected a number > 0"),
        ("TEST.GAMMA", "-1e999", "-inf, expected a number"),
        ("SOLVER.MAX_EPOCH", "2.5", "2.5, expected a whole number > 0"),
        ("SOLVER.MAX_EPOCH", "0", "0, expected a whole number > 0"),
        ("DATALOADER.NUM_WORKERS", "-1", "-1, expected a whole number >= 0"),
        ("MODEL.HID_DIM", "True", "True, expected a whole number >= 0"),
        ("MODEL.REZSL.USE", "1", "1, expected True or False"),
        ("MODEL.LOSS.REG_TYPE", "rmse", "'rmse', expected one of MSE, RMSE, MAE, BMC; did you mean 'RMSE'?"),
        ("MODEL.META_ARCHITECTURE", "AttentionNe", "expected one of BasicNet, AttentionNet, GEMNet; did you mean 'Att"),
        ("DATASETS.SEMANTIC", "0", "'0', expected one of original, normalized"),
        ("DATASETS.ATTRIBUTE_GROUPS", "3", "3, expected a list"),
        *(
            (key, "017", "'017', expected a whole number > 0 and at most 1,000,000, in plain decimal digits")
            for key in ("SOLVER.MAX_EPOCH", "SOLVER.ACCUMULATE")
        ),
        *(
            ("SEED", text, "in plain decimal digits")
            for text in ("017", "08", "0x10", "1_000", "1:30", "1 0", "\u0663")
        ),
        *(("SOLVER.BASE_LR", text, "in plain decimal digits") for text in ("010", "1:30", "1_0.5", "0x1p3", "00.5")),
        ("DATALOADER.EP_PER_BATCH", "1e3", "1000.0, expected a whole number > 0 and at most 100,000"),
        ("DATALOADER.EP_PER_BATCH", "1e9", "1000000000.0, expected a whole number > 0 and at most 100,000"),
        ("SOLVER.MAX_EPOCH", "1e22", "1e+22, expected a whole number > 0 and at most 1,000,000"),
        ("DATASETS.IMAGE_SIZE", "20000", "20000, expected a whole number > 0 and at most 4,096"),
        ("SEED", str(2**63), f"{2**63}, expected a whole number >= 0 and at most 9,223,372,036,854,775,807"),
        ("SEED", "9" * 5000, "expected a whole number >= 0 and at most 9,223,372,036,854,775,807"),
        ("SOLVER.BASE_LR", "9" * 5000, "inf, expected a number > 0 and at most 1,000"),
        ("TEST.GAMMA", "-2e6", "-2000000.0, expected a number from -1,000,000 to 1,000,000"),
        ("SOLVER.MOMENTUM", "1", "1.0, expected a number below 1"),
        ("OUTPUT_DIR", "x" * 5000, "has 5,000 characters, more than 4,096"),
        ("MODEL.LOSS.REG_TYPE", "x" * 4000, "'xx"),
        ("MODEL.DEVICE", "gpu", "'gpu', expected one of auto, cpu, cuda, cuda:N, mps"),
        ("MODEL.DEVICE", "cuda:01", "'cuda:01', expected one of auto, cpu, cuda, cuda:N, mps"),
        ("MODEL.DEVICE", "cuda:x", "'cuda:x', expected one of auto, cpu, cuda, cuda:N"),
        ("LOG_FILE_NAME", "logs/a.txt", "'logs/a.txt', expected a file name without folders"),
        ("MODEL_FILE_NAME", "/a.pth", "'/a.pth', expected a file name without folders"),
        ("MODEL_FILE_NAME", "..", "'..', expected a file name without folders"),
        ("MODEL_FILE_NAME", "last-12.pth", "'last-12.pth', but that file of the run folder is another"),
        ("LOG_FILE_NAME", ".lock", "'.lock', but that file of the run folder is another"),
    ],
)
def test_bad_value_is_told_with_source_key_and_what_is_allowed(load_one, key, text, said):
    load, source = load_one
    with pytest.raises(ConfigError) as caught:
        load(key, text)
    assert str(caught.value).startswith(f"{source}: {key}") and said in str(caught.value)
    assert len(str(caught.value)) < 600 and len(str(caught.value).splitlines()) == 1


def test_missing_value_is_refused(tmp_path):
    (tmp_path / "a.yaml").write_text("MODEL:\n  NAME:\n")
    assert "MODEL.NAME is None, expected text" in refusal(tmp_path / "a.yaml")


@pytest.mark.parametrize(
    ("key", "nearest"),
    [
        ("SOLVER.BASE_LRR", "SOLVER.BASE_LR"),
        ("SOLVER.base_lr", "SOLVER.BASE_LR"),
        ("BASE_LR", "SOLVER.BASE_LR"),
        ("LOSS.REG_TYPE", "MODEL.LOSS.REG_TYPE"),
        ("DATASET.NAME", "DATASETS.NAME"),
        ("TESTS.DATA_AUG", "TEST.DATA_AUG"),
        ("MODEL.BACKBON.NAME", "MODEL.BACKBONE.NAME"),
    ],
)
def test_unknown_key_is_told_with_its_source_and_the_nearest_key(load_one, key, nearest):
    load, source = load_one
    with pytest.raises(ConfigError, match=f"{re.escape(source)}: unknown key {key}; did you mean '{nearest}'"):
        load(key, "1")


def test_section_is_no_key(load_one):
    load, source = load_one
    with pytest.raises(ConfigError, match=f"{re.escape(source)}: MODEL.LOSS is a section"):
        load("MODEL.LOSS", "3")


def test_override_without_a_value():
    assert "command line: overrides come as KEY VALUE pairs; 'SEED' has no value" in refusal(
        None, ["TEST.GAMMA", "1", "SEED"]
    )


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"MODEL:\n  SCALE: [1\nSEED: 2\n", "line 3: not valid YAML"),
        (b"SEED: \x00\n", "not valid YAML"),
        (b"OUTPUT_DIR: gr\xf6\xdfe\n", "UTF-8"),
        (b"- SEED\n- 3\n", "expected KEY: VALUE lines, got a list"),
        (b"SEED\n", "expected KEY: VALUE lines, got a str"),
    ],
    ids=["syntax", "nul", "latin-1", "list", "text"],
)
def test_damaged_file_is_named(tmp_path, content, said):
    file = tmp_path / "a.yaml"
    file.write_bytes(content)
    text = refusal(file)
    assert text.startswith(str(file)) and said in text


@pytest.mark.parametrize("text", ["SEED: 1\nTEST: {GAMMA: 1.0}\nSEED: 2\n", "TEST: {GAMMA: 1.0}\nTEST: {PERIOD: 2}\n"])
def test_a_key_or_section_that_occurs_twice_is_refused(tmp_path, text):
    """YAML itself would drop the first of them in silence."""
    (tmp_path / "a.yaml").write_text(text)
    assert re.search(r"a\.yaml.*(SEED|TEST)", refusal(tmp_path / "a.yaml"))


def test_absent_file_is_named(tmp_path):
    assert f"{tmp_path / 'no.yaml'}: cannot read the config file: No such file" in refusal(tmp_path / "no.yaml")
    (tmp_path / "folder.yaml").mkdir()
    assert f"{tmp_path / 'folder.yaml'}: cannot read the config file: Is a dir" in refusal(tmp_path / "folder.yaml")


def test_a_key_that_two_ways_lead_to_is_refused(tmp_path):
    (tmp_path / "a.yaml").write_text("MODEL: {SCALE: 5}\nMODEL.SCALE: 6\n")
    assert refusal(tmp_path / "a.yaml") == f"{tmp_path / 'a.yaml'}: MODEL.SCALE occurs twice"


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (
            "DATASETS.WAYS 10000 DATASETS.SHOTS 1000 MODEL.BACKBONE.TYPE features DATASETS.INPUT features",
            "DATASETS.WAYS is 10000, so that a batch of WAYS x SHOTS x DATALOADER.EP_PER_BATCH is 10,000,000 images, "
            "expected at most 1,000,000",
        ),
        (
            "DATASETS.IMAGE_SIZE 4096 DATASETS.WAYS 1000",
            "DATASETS.WAYS is 1000, so that a batch of 2,000 images of DATASETS.IMAGE_SIZE 4096 takes 101 GB, expected "
            "at most 100",
        ),
        (
            "DATASETS.IMAGE_SIZE 1024 TEST.IMS_PER_BATCH 100000",
            "TEST.IMS_PER_BATCH is 100000, so that a batch of 100,000 images of DATASETS.IMAGE_SIZE 1024 takes 315 GB, "
            "expected at most 100",
        ),
    ],
)
def test_sizes_that_multiply_to_more_than_can_be_meant_are_refused(overrides, said):
    assert refusal(None, overrides.split()) == f"command line: {said}"


def test_a_deep_list_is_refused(load_one):
    load, source = load_one
    with pytest.raises(ConfigError, match=f"{re.escape(source)}.*more than 20 values in one another"):
        load("DATASETS.ATTRIBUTE_GROUPS", "[" * 5000)


def test_a_nul_character_is_in_no_text(tmp_path):
    (tmp_path / "a.yaml").write_text(r'OUTPUT_DIR: "a\0b"')
    assert refusal(tmp_path / "a.yaml").endswith("OUTPUT_DIR holds a NUL character")


def test_a_long_unknown_key_is_shortened(tmp_path):
    assert len(refusal(None, ["x" * 90_000, "1"])) < 200
    (tmp_path / "a.yaml").write_text('"a\\e[31m\\nb": 1\n')
    assert "unknown key a\\x1b[31m\\nb" in refusal(tmp_path / "a.yaml")


def test_python_config_is_refused_and_not_executed(tmp_path):
    executed = tmp_path / "executed"
    file = tmp_path / "config.py"
    file.write_text(f"open({str(executed)!r}, 'w')\ncfg = dict(SEED=1)\n")
    assert f"{file}: a config file must be .yaml or .yml" in refusal(file)
    file = tmp_path / "config.yaml"
    file.write_text(f"SEED: !!python/object/apply:builtins.open [{executed}, w]\n")
    assert f"{file}, line 1: not valid YAML" in refusal(file)
    assert not executed.exists()


# ---- two keys for one thing


@pytest.mark.parametrize("key", ["SEED", "SOLVER.SEED"])
def test_either_seed_sets_both(load_one, key):
    load, _ = load_one
    cfg = load(key, "5")
    assert (cfg.SEED, cfg.SOLVER.SEED) == (5, 5)


@pytest.mark.parametrize("key", ["SEED", "SOLVER.SEED"])
def test_seed_of_the_command_line_beats_either_seed_of_the_file(tmp_path, key):
    (tmp_path / "a.yaml").write_text("SEED: 3\nSOLVER: {SEED: 3}\n")
    cfg = load_config(tmp_path / "a.yaml", [key, "4"])
    assert (cfg.SEED, cfg.SOLVER.SEED) == (4, 4)


def test_seeds_that_disagree_are_refused(tmp_path):
    file = tmp_path / "a.yaml"
    file.write_text("SEED: 3\nSOLVER: {SEED: 4}\n")
    assert refusal(file) == f"{file}: SEED 3 and SOLVER.SEED 4 disagree"
    assert refusal(None, ["SEED", "1", "SOLVER.SEED", "2"]) == "command line: SEED 1 and SOLVER.SEED 2 disagree"


# ---- retired keys


@pytest.mark.parametrize(
    ("key", "other"),
    [
        ("MODEL.GPUS", "[1]"),
        ("MODEL.ATTENTION.WEIGHT_SHARED", "False"),
        ("MODEL.LOSS.LAMBDA4", "0.5"),
        ("MODEL.LOSS.TEMP", "1.0"),
    ],
)
def test_retired_key_loads_at_its_inert_value_only(load_one, key, other):
    load, source = load_one
    inert, why = RETIRED[key]
    assert value_of(load(key, str(inert)), key) == inert
    with pytest.raises(ConfigError) as caught:
        load(key, other)
    assert str(caught.value) == f"{source}: {key} is {other}, but this key is retired: {why}"


# ---- keys that contradict each other


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        ("DATASETS.INPUT features", r"MODEL\.BACKBONE\.TYPE is 'resnet', but DATASETS\.INPUT is 'features'"),
        ("MODEL.BACKBONE.TYPE features", r"MODEL\.BACKBONE\.TYPE is 'features', but DATASETS\.INPUT is 'images'"),
        ("DATASETS.FEATURE_SCALING l2", r"DATASETS\.FEATURE_SCALING is 'l2', but DATASETS\.INPUT is images"),
        ("MODEL.BACKBONE.TYPE timm", r"MODEL\.BACKBONE\.NAME is '', but MODEL\.BACKBONE\.TYPE is timm"),
        ("MODEL.REZSL.USE True MODEL.LOSS.REG_TYPE BMC", r"MODEL\.REZSL\.USE is True, but MODEL\.LOSS\.REG_TYPE BMC"),
        (
            "MODEL.LOSS.REWEIGHT lds MODEL.REZSL.USE True",
            r"MODEL\.LOSS\.REWEIGHT is 'lds', but MODEL\.REZSL\.USE is True: a loss is reweighted in one way",
        ),
        (
            "MODEL.LOSS.REWEIGHT focal_r MODEL.LOSS.REG_TYPE BMC",
            r"MODEL\.LOSS\.REWEIGHT is 'focal_r', but MODEL\.LOSS\.REG_TYPE BMC is never reweighted",
        ),
        (
            "MODEL.LOSS.REG_TYPE BMC DATASETS.WAYS 1 DATALOADER.MODE episode",
            r"MODEL\.LOSS\.REG_TYPE is 'BMC', which compares the images of a batch by their classes, and here",
        ),
        (
            "MODEL.LOSS.REG_TYPE BMC DATASETS.WAYS 1 DATASETS.SHOTS 1",
            r"MODEL\.LOSS\.REG_TYPE is 'BMC', which compares .* raise DATASETS\.WAYS",
        ),
        (
            "TEST.PROTOCOL val TEST.SELECT oracle",
            r"TEST\.SELECT is 'oracle', but TEST\.PROTOCOL is val, which chooses the epoch on validation classes",
        ),
        (
            "TEST.PROTOCOL val MODEL.WEIGHT x.pth SOLVER.RESUME_OPTIM True",
            r"TEST\.PROTOCOL is 'val', but a training cannot be resumed into two",
        ),
        ("MODEL.LOSS.LAMBDA2 1", r"MODEL\.LOSS\.LAMBDA2 is 1\.0, but only GEMNet has that term, not BasicNet"),
        ("MODEL.LOSS.LAMBDA3 1", r"MODEL\.LOSS\.LAMBDA3 is 1\.0, but only GEMNet has that term, not BasicNet"),
        ("MODEL.GEM.REGRESSION gaze", r"MODEL\.GEM\.REGRESSION is 'gaze', but only GEMNet has a gaze, not BasicNet"),
        ("MODEL.BACKBONE.MEAN [0.5]", r"MODEL\.BACKBONE\.MEAN is \[0\.5\], expected \[\] or three numbers from 0 to 1"),
        ("MODEL.BACKBONE.MEAN [0,0,'a']", r"MODEL\.BACKBONE\.MEAN is \[0, 0, 'a'\], expected \[\] or three numbers"),
        ("MODEL.BACKBONE.MEAN [0,0,124]", r"MODEL\.BACKBONE\.MEAN is \[0, 0, 124\], expected \[\] or three numbers"),
        (
            "MODEL.BACKBONE.STD [0,1,1]",
            r"MODEL\.BACKBONE\.STD is .*, expected \[\] or three numbers from 0 \(not 0\) to 1",
        ),
        (
            "MODEL.BACKBONE.STD [1,1,1] MODEL.BACKBONE.TYPE features DATASETS.INPUT features",
            r"MODEL\.BACKBONE\.STD is \[1, 1, 1\], but DATASETS\.INPUT is features, which have no pixels",
        ),
        ("MODEL.META_ARCHITECTURE GEMNet MODEL.HID_DIM 8", r"MODEL\.HID_DIM is 8, but GEMNet has no hidden layer"),
        ("SOLVER.RESUME_OPTIM True", r"SOLVER\.RESUME_OPTIM is True, but MODEL\.WEIGHT names no checkpoint"),
        ("SOLVER.RESUME_SCHED True", r"SOLVER\.RESUME_SCHED is True, but MODEL\.WEIGHT names no checkpoint"),
    ],
)
def test_contradiction_names_both_keys_and_where_they_were_set(overrides, said):
    assert re.match(f"command line: {said}", refusal(None, overrides.split()))


def test_consistent_combinations_load():
    for overrides in (
        "DATASETS.INPUT features MODEL.BACKBONE.TYPE features DATASETS.FEATURE_SCALING l2",
        "MODEL.BACKBONE.TYPE timm MODEL.BACKBONE.NAME resnet18",
        "MODEL.META_ARCHITECTURE GEMNet MODEL.LOSS.LAMBDA2 0.1 MODEL.LOSS.LAMBDA3 0.2",
        "SOLVER.RESUME_OPTIM True SOLVER.RESUME_SCHED True MODEL.WEIGHT runs/a/last.pth",
    ):
        load_config(None, overrides.split())


# ---- the run folder's config.yaml


@settings(max_examples=25, deadline=None)
@given(
    name=st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"])),
    lr=st.floats(1e-300, 1e3),
    gamma=st.floats(-1e6, 1e6),
    seed=st.integers(0, 2**63 - 1),
    groups=st.lists(st.lists(st.integers(0, 99))),
    choice=st.sampled_from([(key, value) for key, values in CHOICES.items() for value in values]),
)
def test_dump_reloads_to_the_same_config(tmp_path_factory, name, lr, gamma, seed, groups, choice):
    changes = {"MODEL.NAME": name, "SOLVER.BASE_LR": repr(lr), "TEST.GAMMA": repr(gamma), "SEED": str(seed)}
    changes |= {"DATASETS.ATTRIBUTE_GROUPS": repr(groups)}
    alone = not {"features", "timm", "always", "gaze", "DATASETS.FEATURE_SCALING"} & set(
        choice
    )  # the others need other keys
    if alone:
        changes |= dict([choice])
    cfg = load_config(None, [text for pair in changes.items() for text in pair])
    found = (cfg.MODEL.NAME, cfg.SOLVER.BASE_LR, cfg.TEST.GAMMA, cfg.SEED, cfg.DATASETS.ATTRIBUTE_GROUPS)
    assert found == (name, lr, gamma, seed, groups)
    file = Path(tmp_path_factory.getbasetemp()) / "dumped.yaml"
    file.write_text(cfg.dump(), encoding="utf-8", newline="")
    assert load_config(file) == cfg
