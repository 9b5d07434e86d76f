"""Small data sets in the formats of the real ones, and finished runs without a training."""

import json
from pathlib import Path

import numpy as np
import scipy.io
import yaml
from PIL import Image

from REZSL.evaluation import Predictions, bootstrap_intervals, evaluate

REPOSITORY = Path(__file__).resolve().parents[1]
PUBLISHED_KEYS = {  # of the published code, section: keys
    "": "OUTPUT_DIR LOG_FILE_NAME MODEL_FILE_NAME SEED PRETRAINED_MODELS DTYPE",
    "MODEL.": "DEVICE GPUS META_ARCHITECTURE NAME WEIGHT SCALE HID_DIM",
    "MODEL.BACKBONE.": "PRETRAINED FINETUNE TYPE",
    "MODEL.ATTENTION.": "MODE CHANNEL WEIGHT_SHARED W2V_PATH",
    "MODEL.LOSS.": "LAMBDA0 LAMBDA1 LAMBDA2 LAMBDA3 LAMBDA4 TEMP REG_NORM REG_TYPE",
    "MODEL.REZSL.": "USE P P2 WEIGHT_TYPE",
    "DATASETS.": "NAME IMAGE_SIZE WAYS SHOTS SEMANTIC SEMANTIC_TYPE",
    "DATALOADER.": "NUM_WORKERS N_BATCH EP_PER_BATCH MODE",
    "SOLVER.": "MAX_EPOCH BASE_LR BIAS_LR_FACTOR WEIGHT_DECAY WEIGHT_DECAY_BIAS MOMENTUM GAMMA STEPS CHECKPOINT_PERIOD "
    "DATA_AUG RESUME_OPTIM RESUME_SCHED SEED",
    "TEST.": "IMS_PER_BATCH DATA_AUG GAMMA",
}


def write_cells(texts):
    texts = list(texts)
    cells = np.empty((len(texts), 1), object)
    cells[:, 0] = texts
    return cells


class TinyData:
    """A small data set as xlsa17 has it; change ``res101`` or ``att_splits`` and ``write()`` to break it.

    Six classes (ids 0..5; 1 and 4 unseen), seven images a class: of a seen class five are trainval and two test_seen.
    """

    def __init__(self, root, name="TINY", num_attributes=5, feature_dim=8, image_size=(40, 30)):
        self.root, self.name = Path(root), name
        self.num_classes, self.per_class, self.unseen = 6, 7, (1, 4)
        rng = np.random.default_rng(7)
        labels = np.repeat(np.arange(self.num_classes), self.per_class)
        nth = np.tile(np.arange(self.per_class), self.num_classes)
        is_unseen = np.isin(labels, self.unseen)
        self.tails = [f"images/{c + 1:03d}.class/picture_{i}.jpg" for c, i in zip(labels, nth, strict=True)]
        percent = rng.uniform(1, 100, (num_attributes, self.num_classes))
        prototypes = rng.normal(size=(self.num_classes, feature_dim))
        self.res101 = {
            "image_files": write_cells(f"/BS/somebody//data/{name}_200/{tail}" for tail in self.tails),
            "labels": labels[:, None].astype(float) + 1,
            "features": (prototypes[labels] + 0.1 * rng.normal(size=(len(labels), feature_dim))).T,
        }

        def rows(mask):
            return np.flatnonzero(mask)[:, None].astype(np.uint16) + 1

        trainval = ~is_unseen & (nth < 5)
        self.att_splits = {
            "att": percent / np.linalg.norm(percent, axis=0),
            "original_att": percent,
            "allclasses_names": write_cells(f"class_{c + 1}" for c in range(self.num_classes)),
            "trainval_loc": rows(trainval),
            "test_seen_loc": rows(~is_unseen & (nth >= 5)),
            "test_unseen_loc": rows(is_unseen),
            "train_loc": rows(trainval & (labels != 5)),
            "val_loc": rows(trainval & (labels == 5)),
        }
        self.image_size = image_size

    @property
    def folder(self):
        return self.root / "xlsa17" / "data" / self.name

    @property
    def image_root(self):
        return self.root / self.name

    def write(self):
        """Writes the two .mat files."""
        self.folder.mkdir(parents=True, exist_ok=True)
        scipy.io.savemat(self.folder / "res101.mat", self.res101)
        scipy.io.savemat(self.folder / "att_splits.mat", self.att_splits)
        return self

    def write_images(self):
        """Writes every image under ``root/NAME/NAME_200/images/...``."""
        rng = np.random.default_rng(11)
        for tail in self.tails:
            path = self.image_root / f"{self.name}_200" / tail
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(rng.integers(0, 256, (*self.image_size[::-1], 3), np.uint8)).save(path)
        return self

    def write_embeddings(self, width=6):
        """Writes word vectors as ``.npy``."""
        folder = self.root / "Attribute" / "w2v"
        folder.mkdir(parents=True, exist_ok=True)
        vectors = np.random.default_rng(3).normal(size=(len(self.att_splits["att"]), width))
        np.save(folder / f"{self.name}_attribute.npy", vectors)
        return self


def make_predictions(seed=0, num_seen=4, num_unseen=3, per_class=6, num_attributes=5, names=None):
    """Predictions somewhat better than chance; ``names`` of the first classes, where they matter."""
    rng = np.random.default_rng(seed)
    signatures = np.random.default_rng(99).random((num_seen + num_unseen, num_attributes))
    labels = np.repeat(np.arange(len(signatures)), per_class)
    attributes = signatures[labels] + rng.normal(0, 0.25, (len(labels), num_attributes))
    given = tuple(names or ())
    names = given + tuple(f"class_{c}" for c in range(len(given), len(signatures)))
    return Predictions(attributes, labels, signatures, num_seen, 20.0, names, np.arange(len(labels)))


def write_run(folder, seed=0, predictions=None, val_gamma=None, config=None, **said):
    """Writes the files of a finished run of two epochs and returns the content of its ``results.json``.

    ``config`` are sections of ``config.yaml``, ``said`` goes into ``results.json``; None leaves a key out.
    """
    folder = Path(folder)
    predictions = predictions or make_predictions(seed)
    predictions.save(folder / "predictions.npz")
    evaluated = evaluate(predictions, 0.7, val_gamma)
    intervals = {
        name: list(ends) for name, ends in bootstrap_intervals(predictions, evaluated, resamples=20, seed=1).items()
    }
    results = {"dataset": "TINY", "model": "BasicNet", "seed": seed, "epoch": 2, **evaluated.as_dict()}
    results = {key: value for key, value in (results | {"intervals": intervals} | said).items() if value is not None}
    (folder / "results.json").write_text(json.dumps(results))
    shares = {"gradient_share": {"ce": 0.9, "regression": 0.1}}
    losses = [{"epoch": n, "lr": 0.1, "loss": 2 / n, "ce": 1.5 / n, "regression": 0.5 / n} | shares for n in (1, 2)]
    lines = [losses[0], losses[1] | evaluated.as_dict()]
    (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    (folder / "config.yaml").write_text(yaml.safe_dump({"SEED": seed, "DTYPE": "float32", **(config or {})}))
    return results
