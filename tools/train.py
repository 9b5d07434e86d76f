"""Trains and evaluates a zero-shot classifier, or evaluates a trained one.

python tools/train.py --config-file config/AttentionNet/demo_AttentionNet.yaml [KEY VALUE ...]
python tools/train.py --config-file config/AttentionNet/demo_AttentionNet.yaml --seeds 1 2 3 [KEY VALUE ...]
python tools/train.py --config-file runs/demo/config.yaml --eval-only MODEL.WEIGHT runs/demo/best.pth
torchrun --nproc_per_node=2 tools/train.py --config-file config/AttentionNet/demo_AttentionNet.yaml [KEY VALUE ...]
"""

import argparse
import logging
from collections.abc import Collection, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

import torch
from yacs.config import CfgNode

from REZSL.config import drift, flat, load_config, result_keys
from REZSL.data import Data, build_data, build_validation_data, fingerprints
from REZSL.engine import (
    RunFolder,
    Selected,
    build_trainer,
    claim_folder,
    load_checkpoint,
    load_model_state,
    newest_checkpoint,
    predict_split,
    resume_from,
    with_tokens,
)
from REZSL.evaluation import Predictions, Results, bootstrap_intervals, evaluate
from REZSL.modeling import ZSLCriterion, ZSLModel, build_modeling, under_our_names
from REZSL.report import (
    draw_run,
    format_results,
    maxima_over_epochs,
    read_choice,
    read_results,
    seeds_table,
    tracking,
    write_json,
)
from REZSL.solver import build_solver
from REZSL.utils.command import leading_seeds, leave, run_command
from REZSL.utils.device import allow_tf32, check_precision, resolve_device
from REZSL.utils.distributed import barrier, finish, insist_on_same, is_main, main_first, start, world_size
from REZSL.utils.errors import ConfigError, DataError, RunError
from REZSL.utils.logging import setup_logging
from REZSL.utils.seeding import seed_everything
from REZSL.utils.torch_file import read_torch_file, unwrapped_state
from REZSL.utils.versions import code_versions

log = logging.getLogger("REZSL.train")

SELECTING = {"TEST.PROTOCOL", "TEST.SELECT", "TEST.VAL_METRIC"}  # keys that say which epoch is kept


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command line ``argv`` and returns the exit status: 0, 1 (an error in one line) or 128 + a signal."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config-file", metavar="FILE", required=True, help="YAML experiment")
    parser.add_argument("--eval-only", action="store_true", help="evaluate MODEL.WEIGHT without training")
    parser.add_argument("--protocol", choices=("test", "val"), help="the same as TEST.PROTOCOL")
    parser.add_argument("--seeds", nargs="+", metavar="N", help="a run of each, in OUTPUT_DIR/seed_N")
    parser.add_argument("--resume", action="store_true", help="go on with the run in OUTPUT_DIR, if there is one")
    parser.add_argument("--accept-changes", action="store_true", help="--resume although the config has changed")
    parser.add_argument("overrides", nargs="*", metavar="KEY VALUE", help="config keys that go before the file")
    args = parser.parse_intermixed_args(argv)
    hint = "" if args.seeds else " with --resume"
    return run_command(lambda: _run(args), goes_on=f"the same command{hint} goes on")


def _run(args: argparse.Namespace) -> None:
    seeds, overrides = leading_seeds(args.seeds) if args.seeds else ([], [])
    overrides += [*args.overrides, *(("TEST.PROTOCOL", args.protocol) if args.protocol else ())]
    if args.eval_only and (seeds or args.resume):
        raise ConfigError("--eval-only evaluates one checkpoint: leave --seeds and --resume out")
    if seeds:
        run_seeds(args.config_file, overrides, seeds, args.accept_changes)
    else:
        run(load_config(args.config_file, overrides), args.eval_only, args.resume, args.accept_changes)
    finish()


def run_seeds(
    config_file: str, overrides: Sequence[str], seeds: Sequence[int], accept_changes: bool = False
) -> list[dict]:
    """Runs the experiment once a seed, in OUTPUT_DIR/seed_N, and returns the content of each ``results.json``.

    A run that is finished is not repeated, and one that was stopped goes on: the same command, given once more, does
    what is missing.
    """
    whole = load_config(config_file, overrides)
    paths = {seed: Path(whole.OUTPUT_DIR) / f"seed_{seed}" for seed in seeds}
    for seed, path in paths.items():
        own = {"SEED": seed, "SOLVER.SEED": seed, "OUTPUT_DIR": path}
        cfg = load_config(config_file, [*_without(overrides, own), *(str(x) for pair in own.items() for x in pair)])
        run(cfg, resume=True, accept_changes=accept_changes)
    setup_logging()
    results = [read_results(path) for path in paths.values()]
    table = seeds_table(results)
    if is_main():
        table.save(Path(whole.OUTPUT_DIR) / "seeds")
    log.info("\n%d seeds; percent, but for gamma; low, high: 95 %% interval of the mean\n%s", len(seeds), table.text())
    return results


def _without(overrides: Sequence[str], keys: Collection[str]) -> list[str]:
    pairs = zip(overrides[::2], overrides[1::2], strict=True)
    return [word for pair in pairs if pair[0] not in keys for word in pair]


def run(cfg: CfgNode, eval_only: bool = False, resume: bool = False, accept_changes: bool = False) -> None:
    """Does what ``cfg`` says, in its run folder.

    Args:
        cfg: the configuration.
        eval_only: evaluate MODEL.WEIGHT without training.
        resume: go on with the run in OUTPUT_DIR, where there is one that is not finished.
        accept_changes: go on although the run had another config.
    """
    if eval_only and not cfg.MODEL.WEIGHT:
        raise ConfigError("--eval-only needs MODEL.WEIGHT, the checkpoint to evaluate")
    start(cfg.MODEL.DEVICE)
    if world_size() > 1:
        flags = {"--eval-only": eval_only, "--resume": resume, "--accept-changes": accept_changes}
        insist_on_same({**flags, **result_keys(cfg), **code_versions()})
    device = resolve_device(cfg.MODEL.DEVICE)
    allow_tf32(cfg.TF32, device)
    check_precision(getattr(torch, cfg.DTYPE), device)
    with ExitStack() as claimed:
        with main_first():
            folder = claim_folder(cfg, eval_only)
            claimed.callback(folder.release)
            changed = _check_drift(cfg, folder, accept_changes) if resume and folder.holds_a_run() else None
            if changed is None:
                folder.check_fresh()
            elif folder.results.exists() and not changed:
                log.info("%s is finished already", folder.path)
                return
            setup_logging(folder.log)
            data = build_data(cfg)
        if world_size() > 1:
            insist_on_same(fingerprints(data.split, data.image_paths, data.attribute_embeddings))
        if eval_only:
            selected, choice = _evaluate_only(cfg, data, device), None
            folder.begin(cfg.dump())
        elif cfg.TEST.PROTOCOL == "val":
            choice = _choose(cfg, data, folder.validation, device, again="SOLVER.MAX_EPOCH" in (changed or ()))
            selected = _train(cfg, data, folder, device, "last", choice)
        else:
            selected, choice = _train(cfg, data, folder, device, cfg.TEST.SELECT), None
        if is_main():
            folder.check_claim()
            _report(cfg, folder, selected, choice)
        barrier()


def _check_drift(cfg: CfgNode, folder: RunFolder, accept_changes: bool) -> dict[str, tuple]:
    """A run goes on with the config it had; keys that change where and how, but not what, may differ.

    Returns:
        The keys that are accepted to differ, with both values.
    """
    before = load_config(folder.config)
    changed = drift(before, cfg)
    told = "; ".join(f"{key} {old!r}, now {new!r}" for key, (old, new) in changed.items())
    if changed and not accept_changes:
        raise RunError(
            f"{folder.path} holds a run of another config ({told}): set another OUTPUT_DIR, or add --accept-changes"
        )
    if fixed := sorted(changed.keys() & SELECTING):
        raise RunError(
            f"{folder.path} holds a run of another {fixed[0]} ({told}), of whose epochs only the selected one is kept: "
            f"set another OUTPUT_DIR"
        )
    if changed and folder.results.exists() and cfg.SOLVER.MAX_EPOCH <= before.SOLVER.MAX_EPOCH:
        raise RunError(
            f"{folder.path} is finished, and a change ({told}) would train nothing: set another OUTPUT_DIR, or "
            f"SOLVER.MAX_EPOCH above {before.SOLVER.MAX_EPOCH}"
        )
    if changed:
        log.warning("going on with another config: %s", told)
    return changed


class Choice(NamedTuple):
    """What the validation classes chose: the epoch (1-based), gamma, and the AUSUC and H there.

    Where no test image is of a seen class only the epoch is chosen, by T1.
    """

    epoch: int
    gamma: float | None
    AUSUC: float | None
    H: float | None


def _choose(cfg: CfgNode, data: Data, folder: RunFolder, device: torch.device, again: bool) -> Choice:
    """Trains on the training classes and chooses epoch and gamma on the validation classes: no test image is read.

    Args:
        cfg: the configuration.
        data: of the test.
        folder: of this training.
        device: where to train.
        again: its length has changed since it chose.
    """
    if folder.choice.exists() and not again:
        try:
            return Choice(*(read_choice(folder.choice)[name] for name in Choice._fields))
        except DataError as error:
            raise DataError(f"{error}: delete it, and --resume chooses again by the training beside it") from None
    log.info("validation: epoch by %s, gamma by H", cfg.TEST.VAL_METRIC)
    folder.path.mkdir(exist_ok=True)
    data = build_validation_data(cfg, data.split)
    selected = _train(cfg, data, folder, device, cfg.TEST.VAL_METRIC)
    choice = Choice(selected.epoch, None, None, None)
    if selected.results.gzsl:
        best = selected.results.gzsl["oracle"]  # of the validation classes, whose labels are there to choose by
        choice = Choice(selected.epoch, best.gamma, selected.results.AUSUC, best.H)
    if is_main():
        draw_run(folder.figures, folder.history, selected.results, f"{_label(cfg)} on validation classes")
        write_json(folder.choice, choice._asdict())
    chosen = "" if choice.gamma is None else f" and gamma {choice.gamma:.3f}"
    chosen += "" if choice.H is None else f" (H of the validation classes {100 * choice.H:.1f})"
    log.info("validation chose epoch %d%s", choice.epoch, chosen)
    return choice


def _train(
    cfg: CfgNode, data: Data, folder: RunFolder, device: torch.device, score: str, choice: Choice | None = None
) -> Selected:
    """Trains on ``data``: with a ``choice`` for that many epochs, tested once; without for all of them."""
    seed_everything(cfg.SEED)
    model, criterion, start = _build_model(cfg, data, device)
    trainable = sum(p.numel() for p in model.parameters() if p.requires_grad)
    places = f"{world_size()} processes on {device.type}" if world_size() > 1 else device
    log.info("%s on %s, %.1f M trainable parameters; run folder %s", _label(cfg), places, trainable / 1e6, folder.path)
    data = with_tokens(cfg, data, model.backbone, device)
    with tracking(cfg.TRACKER if is_main() else "none", folder.path, str(folder.path), flat(cfg)) as track:
        trainer = build_trainer(
            cfg,
            model,
            criterion,
            build_solver(cfg, model, criterion, len(data.train_loader)),
            data.train_loader,
            lambda: _evaluate(cfg, model, data, device, choice),
            folder,
            device,
            score,
            epochs=choice.epoch if choice else 0,
            track=track,
        )
        goes_on = newest_checkpoint(folder.last, accept=trainer.go_on) is not None
        insist_on_same({f"the epoch of {folder.last}": trainer.epoch, "the step in it": trainer.step})
        if goes_on:
            folder.begin(cfg.dump())
            log.info("going on after %d steps of epoch %d", trainer.step, trainer.epoch + 1)
            return trainer.train()
        start_epoch = resume_from(cfg, start, trainer) if start else 0
        folder.begin(cfg.dump())
        return trainer.train(start_epoch)


def _evaluate_only(cfg: CfgNode, data: Data, device: torch.device) -> Selected:
    seed_everything(cfg.SEED)
    model, _, start = _build_model(cfg, data, device)
    if cfg.TEST.PROTOCOL == "val":
        log.info("the row val is of the run that chose its gamma: --eval-only leaves it out")
    return Selected(start.get("epoch", 0), *_evaluate(cfg, model, data, device))


def _evaluate(
    cfg: CfgNode, model: ZSLModel, data: Data, device: torch.device, choice: Choice | None = None
) -> tuple[Predictions, Results]:
    dtype = getattr(torch, cfg.DTYPE)
    predictions = predict_split(model, data.test_loader, data.split, data.test_indices, device, dtype)
    return predictions, evaluate(predictions, cfg.TEST.GAMMA, choice.gamma if choice else None)


def _build_model(cfg: CfgNode, data: Data, device: torch.device) -> tuple[ZSLModel, ZSLCriterion, dict | None]:
    """The model and criterion on ``device``, and the checkpoint that the model starts from, where there is one."""
    split = data.split
    signatures = split.signatures[: split.num_seen]
    parts = build_modeling(
        cfg, signatures, split.num_attributes, data.attribute_embeddings, data.groups, data.feature_dim,
        split.labels[split.trainval],
    )  # fmt: skip
    model, criterion = (part.to(device) for part in parts)
    if cfg.MODEL.SYNC_BN and world_size() > 1:
        if device.type != "cuda":
            raise ConfigError("MODEL.SYNC_BN is True, but torch synchronises batch norm on CUDA devices only")
        model = torch.nn.SyncBatchNorm.convert_sync_batchnorm(model)
    start = _read_start(cfg.MODEL.WEIGHT, model) if cfg.MODEL.WEIGHT else None
    if start:
        load_model_state(model, start["model"], cfg.MODEL.WEIGHT)
    return model, criterion, start


def _read_start(path: str, model: ZSLModel) -> dict:
    """The checkpoint of a run; of weights alone, ours or the published code's, as much of one as they are."""
    content = read_torch_file(path)
    if isinstance(content, dict) and {"model", "epoch"} <= content.keys():
        return load_checkpoint(path)
    return {"model": under_our_names(unwrapped_state(content, path), model, path)}


def _label(cfg: CfgNode) -> str:
    return cfg.MODEL.NAME or cfg.MODEL.META_ARCHITECTURE


def _report(cfg: CfgNode, folder: RunFolder, selected: Selected, choice: Choice | None) -> None:
    results, label = selected.results, _label(cfg)
    selected.predictions.save(folder.predictions)
    content = {"dataset": cfg.DATASETS.NAME, "model": label, "seed": cfg.SEED, "epoch": selected.epoch}
    content |= {"protocol": cfg.TEST.PROTOCOL, "select": cfg.TEST.SELECT}
    if cfg.TEST.SELECT == "oracle":
        content["select_uses_test_labels"] = True
        log.warning("TEST.SELECT oracle: the epoch was picked on the test classes, as published papers do")
        if maxima := maxima_over_epochs(folder.history):
            content["maxima_over_epochs"] = maxima
    intervals = bootstrap_intervals(selected.predictions, results)
    title = f"{label} on {cfg.DATASETS.NAME}, seed {cfg.SEED}, epoch {selected.epoch}"
    draw_run(folder.figures, folder.history, results, title)
    log.info("\n%s\n%s", title, format_results(results, intervals, content.get("maxima_over_epochs")))
    if choice:
        content["validation"] = {**choice._asdict(), "metric": cfg.TEST.VAL_METRIC}
    if choice and results.gzsl:
        moved = {
            name: getattr(results.gzsl["oracle"], name) - getattr(results.gzsl["val"], name) for name in ("gamma", "H")
        }
        content["validation"]["moved"] = moved
        log.info("from val to oracle gamma moves by %+.3f and H by %+.1f", moved["gamma"], 100 * moved["H"])
    content |= results.as_dict()
    content["intervals"] = {name: list(ends) for name, ends in intervals.items()}
    write_json(folder.results, content)  # the last file: a run with it is finished
    log.info("\nall files are in %s", folder.path)


if __name__ == "__main__":
    leave(main())
