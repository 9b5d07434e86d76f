"""Every config key, with its default, unit and choices.

A key's allowed values are listed in ``CHOICES`` (one of), ``POSITIVE`` (> 0) or ``NON_NEGATIVE`` (>= 0); every number
has a bound in ``AT_MOST``. A ``RETIRED`` key still loads from an old file when it says what always happened anyway; any
other value is refused with the reason.
"""

from yacs.config import CfgNode as CN

_C = CN()
_C.OUTPUT_DIR = "runs/default"  # run folder; a folder that already holds a run is refused
_C.LOG_FILE_NAME = ""  # name of the log inside the run folder; empty: log.txt
_C.MODEL_FILE_NAME = ""  # name of the selected checkpoint inside the run folder; empty: best.pth
_C.SEED = 214  # seed of weights, episodes and augmentation
_C.PRETRAINED_MODELS = "pretrained_models"  # folder where downloaded ImageNet weights are kept
_C.DTYPE = "float32"  # precision of the forward pass: float32, bfloat16 or float16 (with loss scaling)
_C.TF32 = "convolutions"  # CUDA: where float32 factors may round to 10 bits for speed: convolutions, always, never
_C.TRACKER = "none"  # metrics also go to tensorboard (in the run folder), wandb or mlflow, where installed

_C.MODEL = CN()
_C.MODEL.DEVICE = "auto"  # auto (cuda if there is one, else cpu), cpu, cuda, cuda:N, or mps (Apple GPUs)
_C.MODEL.GPUS = [0]  # retired
_C.MODEL.COMPILE = False  # torch.compile model and criterion: some minutes at the start, then faster steps
_C.MODEL.SYNC_BN = False  # CUDA, several processes: batch norm over the global batch, not over each process's part
_C.MODEL.META_ARCHITECTURE = "BasicNet"  # head: BasicNet, AttentionNet or GEMNet
_C.MODEL.NAME = ""  # label of this model in logs and results; empty: META_ARCHITECTURE
_C.MODEL.WEIGHT = ""  # checkpoint of a run, or weights alone, to start from or to evaluate (--eval-only)
_C.MODEL.SCALE = 20.0  # class score = SCALE * cosine
_C.MODEL.HID_DIM = 0  # width of the head's hidden layer; 0: none

_C.MODEL.BACKBONE = CN()
_C.MODEL.BACKBONE.TYPE = "resnet"  # resnet, vit (torchvision), timm, or features (input is features already)
_C.MODEL.BACKBONE.NAME = ""  # e.g. resnet18, vit_l_16, a timm name; empty: resnet101 or vit_b_16 by TYPE
_C.MODEL.BACKBONE.WEIGHTS = ""  # local state_dict to start from; goes before PRETRAINED
_C.MODEL.BACKBONE.PRETRAINED = True  # start from ImageNet weights, downloaded to PRETRAINED_MODELS
_C.MODEL.BACKBONE.FINETUNE = True  # train the backbone; False freezes it, batch norm included
_C.MODEL.BACKBONE.MEAN = []  # of red, green, blue in 0..1, taken from the pixels; empty: the weights' own
_C.MODEL.BACKBONE.STD = []  # what is left is divided by these; empty: the weights' own

_C.MODEL.ATTENTION = CN()
_C.MODEL.ATTENTION.MODE = "add"  # attribute token: mean token "add" attended token, or "concat" of both
_C.MODEL.ATTENTION.CHANNEL = 1024  # width M of queries, keys and values
_C.MODEL.ATTENTION.RATIO = 1.0  # factor of the attended token
_C.MODEL.ATTENTION.WEIGHT_SHARED = True  # retired
_C.MODEL.ATTENTION.EMBEDDING = "w2v"  # attribute embeddings: w2v (read from W2V_PATH) or learned
_C.MODEL.ATTENTION.W2V_PATH = ""  # folder of NAME_attribute.pkl or .npy; empty: DATASETS.ROOT/Attribute/w2v

_C.MODEL.GEM = CN()
_C.MODEL.GEM.REGRESSION = "output"  # what GEMNet's regression trains: gaze (each attribute's peak attention) or output

_C.MODEL.LOSS = CN()
_C.MODEL.LOSS.LAMBDA0 = 1.0  # weight of the cross-entropy
_C.MODEL.LOSS.LAMBDA1 = 1.0  # weight of the regression loss
_C.MODEL.LOSS.LAMBDA2 = 0.0  # weight of ADLoss (GEMNet)
_C.MODEL.LOSS.LAMBDA3 = 0.0  # weight of CPTLoss (GEMNet)
_C.MODEL.LOSS.LAMBDA4 = 0.0  # retired
_C.MODEL.LOSS.TEMP = 0.07  # retired
_C.MODEL.LOSS.REG_NORM = True  # L2-normalise prediction and target before the regression loss
_C.MODEL.LOSS.REG_TYPE = "MSE"  # MSE, RMSE, MAE or BMC (balanced MSE)
_C.MODEL.LOSS.REWEIGHT = "none"  # none, focal_r or lds (Yang et al., ICML 2021): in place of MODEL.REZSL
_C.MODEL.LOSS.LDS_REWEIGHT = (
    "sqrt_inv"  # lds: from square roots of counts (sqrt_inv) or counts within 5..1000 (inverse)
)

_C.MODEL.REZSL = CN()
_C.MODEL.REZSL.USE = False  # reweight the regression loss by ReMSE
_C.MODEL.REZSL.P = 0.0  # exponent of the weights across classes
_C.MODEL.REZSL.P2 = 0.0  # exponent of the weights across attributes
_C.MODEL.REZSL.WEIGHT_TYPE = "in_batch"  # error statistics: in_batch, cross_batch (a class's last ones), ema
_C.MODEL.REZSL.MOMENTUM = 0.9  # share of the old statistics that ema keeps, below 1

_C.DATASETS = CN()
_C.DATASETS.NAME = "CUB"  # any NAME with files in ROOT/xlsa17/data/NAME; DEMO is written on first use
_C.DATASETS.ROOT = "Dataset"  # folder that holds xlsa17/, Attribute/ and the image folders
_C.DATASETS.IMAGE_ROOT = ""  # folder of this data set's images; empty: ROOT/NAME
_C.DATASETS.INPUT = "images"  # images, or features (those of res101.mat)
_C.DATASETS.FEATURE_SCALING = "none"  # features only: none, standard, minmax (fitted on trainval) or l2 (per image)
_C.DATASETS.IMAGE_SIZE = 224  # pixels, square
_C.DATASETS.UPRIGHT = True  # turn images as their EXIF orientation says (TIFFs are in any case)
_C.DATASETS.WAYS = 16  # classes an episode
_C.DATASETS.SHOTS = 2  # images a class in an episode
_C.DATASETS.SEMANTIC = "original"  # signatures: original (original_att) or normalized (att, unit length)
_C.DATASETS.UNKNOWN = "auto"  # attributes that are unknown, read as 0: minus_one (-1), none, or auto (minus_one, unless
#                               there are other negative values too, or none but -1 and +1)
_C.DATASETS.SEMANTIC_TYPE = "GBU"  # source of the signatures: GBU, the att_splits.mat of xlsa17
_C.DATASETS.ATTRIBUTE_GROUPS = []  # GEMNet: lists of 0-based attribute numbers; empty: those known for NAME
_C.DATASETS.CHECK_IMAGES = True  # decode every image once before training, so that a bad one is named at once

_C.DATALOADER = CN()
_C.DATALOADER.NUM_WORKERS = (
    4  # loading processes; 0: load in the main process, as features and tokens on a CPU always are
)
_C.DATALOADER.SCALED_DECODING = True  # JPEGs at 1/2 to 1/8, where the short side stays 8 times what it is resized to
_C.DATALOADER.TIMEOUT = 600.0  # seconds to wait for a batch of the loading processes before it is an error; 0: for ever
_C.DATALOADER.MODE = "random"  # batches: random, or episode (WAYS classes x SHOTS images)
_C.DATALOADER.N_BATCH = 0  # batches an epoch; 0: as many as one pass over the training images fills
_C.DATALOADER.CACHE = "none"  # decoded images, kept in ram or on disk, no larger than training needs them
_C.DATALOADER.CACHE_DIR = "cache"  # folder of the caches on disk
_C.DATALOADER.CACHE_GB = (
    20.0  # 10^9 bytes that the folder, or the memory, may take; the oldest go, the rest is read anew
)
_C.DATALOADER.TOKENS = "auto"  # tokens of a frozen backbone, kept on disk: auto (where images always look the same),
#                                always (so that random DATA_AUG is left out) or never
_C.DATALOADER.EP_PER_BATCH = 1  # episodes a batch; a batch has WAYS * SHOTS * EP_PER_BATCH images in either MODE

_C.SOLVER = CN()
_C.SOLVER.MAX_EPOCH = 30  # epochs
_C.SOLVER.OPTIMIZER = "sgd"  # sgd or adamw
_C.SOLVER.BASE_LR = 1e-3  # learning rate
_C.SOLVER.BIAS_LR_FACTOR = 1.0  # biases learn at BASE_LR times this
_C.SOLVER.WEIGHT_DECAY = 1e-5  # weight decay of everything but biases
_C.SOLVER.WEIGHT_DECAY_BIAS = 1e-5  # weight decay of biases
_C.SOLVER.MOMENTUM = 0.9  # momentum of sgd; beta1 of adamw
_C.SOLVER.ACCUMULATE = 1  # batches whose mean gradient makes one step; learning rates follow the steps
_C.SOLVER.CLIP_NORM = 0.0  # the gradient is scaled down to this norm where it is longer; 0: never
_C.SOLVER.SCHEDULE = "step"  # step (times GAMMA every STEPS epochs) or cosine (to 0 at MAX_EPOCH)
_C.SOLVER.GAMMA = 0.1  # factor of the step schedule
_C.SOLVER.STEPS = 10  # epochs between steps
_C.SOLVER.STEP_OFFSET = 0  # epochs by which each of these steps comes early: 1 in the published code
_C.SOLVER.WARMUP_EPOCHS = 0.0  # epochs of linear warm-up, fractions allowed
_C.SOLVER.DATA_AUG = "resize_random_crop"  # training transform, parts joined by +
_C.SOLVER.CHECKPOINT_PERIOD = 1  # epochs between writes of last.pth (always written at the end)
_C.SOLVER.CHECKPOINT_MINUTES = 0.0  # minutes between further writes, in the middle of an epoch too; 0: none
_C.SOLVER.KEEP_CHECKPOINTS = 1  # older ones that stay: last-1.pth, last-2.pth, ...
_C.SOLVER.RESUME_OPTIM = False  # with MODEL.WEIGHT: take the optimiser's state too
_C.SOLVER.RESUME_SCHED = False  # with MODEL.WEIGHT: take the schedule's position and the epoch too
_C.SOLVER.SEED = 214  # the same as SEED; setting one sets both

_C.TEST = CN()
_C.TEST.IMS_PER_BATCH = 100  # images a batch in evaluation
_C.TEST.DATA_AUG = "resize_crop"  # test transform, without randomness
_C.TEST.GAMMA = 0.7  # calibration of the row "fixed", subtracted from the scaled scores of seen classes
_C.TEST.PERIOD = 1  # epochs between evaluations (the last epoch is always evaluated)
_C.TEST.PROTOCOL = "test"  # test: follow the test classes; val: choose epoch and gamma on validation classes first
_C.TEST.VAL_METRIC = "H"  # what validation chooses the epoch by: H (at its best gamma) or AUSUC
_C.TEST.SELECT = "last"  # epoch kept as best.pth: last, or oracle (best H on the test classes, as published papers do)

CHOICES = {
    "DTYPE": ("float32", "bfloat16", "float16"),
    "TF32": ("convolutions", "always", "never"),
    "TRACKER": ("none", "tensorboard", "wandb", "mlflow"),
    "MODEL.META_ARCHITECTURE": ("BasicNet", "AttentionNet", "GEMNet"),
    "MODEL.BACKBONE.TYPE": ("resnet", "vit", "timm", "features"),
    "MODEL.ATTENTION.MODE": ("add", "concat"),
    "MODEL.ATTENTION.EMBEDDING": ("w2v", "learned"),
    "MODEL.GEM.REGRESSION": ("gaze", "output"),
    "MODEL.LOSS.REG_TYPE": ("MSE", "RMSE", "MAE", "BMC"),
    "MODEL.LOSS.REWEIGHT": ("none", "focal_r", "lds"),
    "MODEL.LOSS.LDS_REWEIGHT": ("sqrt_inv", "inverse"),
    "MODEL.REZSL.WEIGHT_TYPE": ("in_batch", "cross_batch", "ema"),
    "DATASETS.INPUT": ("images", "features"),
    "DATASETS.FEATURE_SCALING": ("none", "standard", "minmax", "l2"),
    "DATASETS.SEMANTIC": ("original", "normalized"),
    "DATASETS.SEMANTIC_TYPE": ("GBU",),
    "DATASETS.UNKNOWN": ("auto", "minus_one", "none"),
    "DATALOADER.CACHE": ("none", "ram", "disk"),
    "DATALOADER.TOKENS": ("auto", "always", "never"),
    "DATALOADER.MODE": ("random", "episode"),
    "SOLVER.OPTIMIZER": ("sgd", "adamw"),
    "SOLVER.SCHEDULE": ("step", "cosine"),
    "TEST.PROTOCOL": ("test", "val"),
    "TEST.VAL_METRIC": ("H", "AUSUC"),
    "TEST.SELECT": ("last", "oracle"),
}
POSITIVE = (
    "MODEL.SCALE",
    "MODEL.ATTENTION.CHANNEL",
    "MODEL.ATTENTION.RATIO",
    "DATASETS.IMAGE_SIZE",
    "DATASETS.WAYS",
    "DATASETS.SHOTS",
    "DATALOADER.EP_PER_BATCH",
    "DATALOADER.CACHE_GB",
    "SOLVER.MAX_EPOCH",
    "SOLVER.ACCUMULATE",
    "SOLVER.BASE_LR",
    "SOLVER.GAMMA",
    "SOLVER.STEPS",
    "SOLVER.CHECKPOINT_PERIOD",
    "TEST.IMS_PER_BATCH",
    "TEST.PERIOD",
)
NON_NEGATIVE = (
    "SEED",
    "SOLVER.SEED",
    "MODEL.HID_DIM",
    "MODEL.LOSS.LAMBDA0",
    "MODEL.LOSS.LAMBDA1",
    "MODEL.LOSS.LAMBDA2",
    "MODEL.LOSS.LAMBDA3",
    "MODEL.REZSL.P",
    "MODEL.REZSL.P2",
    "MODEL.REZSL.MOMENTUM",
    "DATALOADER.NUM_WORKERS",
    "DATALOADER.N_BATCH",
    "DATALOADER.TIMEOUT",
    "SOLVER.BIAS_LR_FACTOR",
    "SOLVER.CHECKPOINT_MINUTES",
    "SOLVER.CLIP_NORM",
    "SOLVER.KEEP_CHECKPOINTS",
    "SOLVER.WEIGHT_DECAY",
    "SOLVER.WEIGHT_DECAY_BIAS",
    "SOLVER.MOMENTUM",
    "SOLVER.STEP_OFFSET",
    "SOLVER.WARMUP_EPOCHS",
)
AT_MOST = {  # no number beyond is meant; what it would take is not tried (of a number that may be negative, its size)
    "SEED": 2**63 - 1,
    "MODEL.SCALE": 10_000,
    "MODEL.HID_DIM": 100_000,
    "MODEL.ATTENTION.CHANNEL": 100_000,
    "MODEL.ATTENTION.RATIO": 1_000_000,
    "MODEL.LOSS.LAMBDA0": 1_000_000,
    "MODEL.LOSS.LAMBDA1": 1_000_000,
    "MODEL.LOSS.LAMBDA2": 1_000_000,
    "MODEL.LOSS.LAMBDA3": 1_000_000,
    "MODEL.REZSL.P": 100,
    "MODEL.REZSL.P2": 100,
    "MODEL.REZSL.MOMENTUM": 1,
    "DATASETS.IMAGE_SIZE": 4096,
    "DATASETS.WAYS": 100_000,
    "DATASETS.SHOTS": 100_000,
    "DATALOADER.NUM_WORKERS": 512,
    "DATALOADER.TIMEOUT": 1_000_000,
    "DATALOADER.N_BATCH": 10_000_000,
    "DATALOADER.CACHE_GB": 1_000_000,
    "DATALOADER.EP_PER_BATCH": 100_000,
    "SOLVER.MAX_EPOCH": 1_000_000,
    "SOLVER.BASE_LR": 1_000,
    "SOLVER.BIAS_LR_FACTOR": 1_000_000,
    "SOLVER.WEIGHT_DECAY": 1_000,
    "SOLVER.WEIGHT_DECAY_BIAS": 1_000,
    "SOLVER.MOMENTUM": 1,
    "SOLVER.ACCUMULATE": 1_000_000,
    "SOLVER.CLIP_NORM": 1_000_000_000,
    "SOLVER.GAMMA": 1_000,
    "SOLVER.STEPS": 1_000_000_000,
    "SOLVER.STEP_OFFSET": 1_000_000_000,
    "SOLVER.WARMUP_EPOCHS": 1_000_000,
    "SOLVER.CHECKPOINT_PERIOD": 1_000_000_000,
    "SOLVER.CHECKPOINT_MINUTES": 1_000_000,
    "SOLVER.KEEP_CHECKPOINTS": 1_000,
    "SOLVER.SEED": 2**63 - 1,
    "TEST.IMS_PER_BATCH": 100_000,
    "TEST.GAMMA": 1_000_000,
    "TEST.PERIOD": 1_000_000_000,
}
FREE = {  # a run may go on with another value: the results do not depend on them
    "OUTPUT_DIR",
    "PRETRAINED_MODELS",
    "TRACKER",
    "MODEL.DEVICE",
    "DATASETS.ROOT",
    "DATASETS.IMAGE_ROOT",
    "DATASETS.CHECK_IMAGES",
    "DATALOADER.NUM_WORKERS",
    "DATALOADER.TIMEOUT",
    "DATALOADER.CACHE",
    "DATALOADER.CACHE_DIR",
    "DATALOADER.CACHE_GB",
    "SOLVER.CHECKPOINT_PERIOD",
    "SOLVER.CHECKPOINT_MINUTES",
    "SOLVER.KEEP_CHECKPOINTS",
}
RETIRED = {  # key: (the only value that still loads, why)
    "MODEL.GPUS": ([0], "choose a GPU with CUDA_VISIBLE_DEVICES=N or MODEL.DEVICE cuda:N, several with torchrun"),
    "MODEL.ATTENTION.WEIGHT_SHARED": (True, "the attention projections are always shared by all attributes"),
    "MODEL.LOSS.LAMBDA4": (0.0, "there is no fifth loss term"),
    "MODEL.LOSS.TEMP": (0.07, "no loss term reads it; the temperature of the class scores is MODEL.SCALE"),
}


def get_defaults() -> CN:
    """Returns a fresh, unfrozen copy of the default configuration."""
    return _C.clone()
