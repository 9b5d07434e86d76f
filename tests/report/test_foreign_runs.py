"""Run folders of others: whatever is done to the files of a run, each reader shows it or tells one error."""

import copy
import itertools
import json
import random
import shutil
import tracemalloc
import warnings
import zipfile
from pathlib import Path

import analyze
import numpy as np
import pytest
import report
import summarize
import yaml
from stand_ins import make_predictions, write_run

from REZSL.evaluation import Predictions
from REZSL.report import page, read_results, read_runs, seeds_table
from REZSL.utils.errors import DataError

pytestmark = pytest.mark.long

DELETED = object()
VALUES = [DELETED, None, True, "text", "x\n\x1b[2J\ud800" * 99, [], {}, [[1, 2]], {"a": {"b": []}}, -5, 0, 7]
VALUES += [0.5, 10**400, -1e300, float("nan"), float("inf")]
TEXTS = ["", "{", "null", "[" * 10**5, '{"a":' * 10**5, "9" * 10**4, "\ufeff{}", "{}", "[1]", '"a"', "\x00", "a: *a"]
BOMB = "a: &a [x, x]\n" + "".join(
    f"{b}: &{b} [*{a}, *{a}, *{a}, *{a}]\n" for a, b in itertools.pairwise("abcdefghijklmnopqrstu")
)
TEXTS += [BOMB, "? [a, b]\n: c", "a: !!python/name:os.system", "a: 2020-01-01", "a: .nan", "a: 0x" + "f" * 9999]
TEXTS += ["1: {2: 3}", "a: {1: b}", "{a: b}", "[{a: b}]", "a: [[1]]", "a: " + "[" * 10**4]


@pytest.fixture
def show(tmp_path, monkeypatch, capsys):
    """``show()`` calls every command on the run in ``bad``, beside ``good``; returns the errors told of ``bad``."""
    for name in ("bad", "good"):
        write_run(tmp_path / name, val_gamma=0.3, config={"A": {"B": [1, 2], "C": "x"}}, protocol="val", select="last")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(page, "_imbalance", lambda view: [])
    monkeypatch.setattr(page, "as_svg", lambda figure, alt: page.Picture("data:,", alt, 1, 1))
    monkeypatch.setattr(page, "as_png", lambda figure, alt: page.Picture("data:,", alt, 1, 1))
    monkeypatch.setattr(analyze, "draw_analysis", lambda *arguments: None)

    def show():
        told = {}
        commands = {
            "report": lambda: report.main(["bad", "good", "--output", "page.html"]),
            "summarize": lambda: summarize.main(["bad", "good", "--output", "table"]),
            "analyze": lambda: analyze.main(["bad", "good", "--output", "analysis"]),
        }
        for name, command in commands.items():
            status = command()
            said = capsys.readouterr()
            other_data = "was not tested on the data of" in said.err  # so there is no mean of the two
            assert "good" in said.out or name == "report" or other_data, (name, said)
            errors = [line for line in said.err.splitlines() if line.startswith("error: ")]
            assert len(errors) == status <= 1 and len(said.err) < 1000, (name, said.err)
            told[name] = errors[0] if errors else None
            assert status == 0 or errors[0].startswith(("error: bad/", "error: bad is no")) or other_data, errors
        assert 'data-run="good"' in Path("page.html").read_text(encoding="utf-8")
        assert ("bad" in Path("table.csv").read_text(encoding="utf-8")) == (told["summarize"] is None)
        return told

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # of figures without an image
        yield show


def places(value, path=()):
    """The paths of all values within ``value``."""
    yield path
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in items:
        yield from places(item, (*path, key))


def mutated(content, path, value):
    """``content`` with another ``value`` at ``path``, or without it."""
    if not path:
        return {} if value is DELETED else value
    content = copy.deepcopy(content)
    *above, last = path
    parent = content
    for key in above:
        parent = parent[key]
    if value is DELETED:
        del parent[last]
    else:
        parent[last] = value
    return content


FILES = {
    "results.json": (json.loads, lambda content: json.dumps(content)),
    "metrics.jsonl": (
        lambda text: [json.loads(line) for line in text.splitlines()],
        lambda lines: "\n".join(map(json.dumps, lines if isinstance(lines, list) else [lines])),
    ),
    "config.yaml": (yaml.safe_load, lambda content: yaml.safe_dump(content)),
}


def error_of(read, *arguments):
    """The one error that ``read`` raises, as a line; None where it raises none."""
    try:
        read(*arguments)
    except DataError as error:
        assert str(error).startswith(("bad/", "bad is no")) and len(str(error).splitlines()) == 1
        return f"error: {error}"


def look(show, deep):
    """Reads the run as page, table and ``--seeds`` do; ``deep``: by whole commands too. Returns the page's error."""
    found = error_of(read_runs, ["bad", "good"])
    of_results = error_of(lambda: seeds_table([read_results("bad"), read_results("good")]))
    assert of_results is None or found == of_results
    if deep:
        told = show()
        assert told["report"] == found
        assert told["summarize"] == of_results or "results to compare" in told["summarize"]
    return found


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("every", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_values_that_no_run_writes(show, name, every):
    """Every value in every place, or a seeded few of them; a few of them by whole commands."""
    read, write = FILES[name]
    original = read(Path("bad", name).read_text(encoding="utf-8"))
    rng, found = random.Random(name), []
    for path in places(original):
        for value in VALUES if every else rng.sample(VALUES, 5):
            Path("bad", name).write_text(write(mutated(original, path, value)), encoding="utf-8")
            found.append(look(show, deep=rng.random() < 0.02))
            assert found[-1] is None or name in found[-1]
    assert len(found) > 30 and 0 < found.count(None) < len(found)


@pytest.mark.parametrize("name", [*FILES, "predictions.npz"])
def test_changed_and_missing_bytes(show, name):
    path, rng = Path("bad", name), random.Random(name)
    original = path.read_bytes()
    for n in range(80):
        content = bytearray(original[: rng.randrange(len(original))] if n % 4 == 0 else original)
        for _ in range(n % 4):
            content[rng.randrange(len(content))] = rng.randrange(256)
        path.write_bytes(content)
        look(show, deep=n % 40 == 1)


@pytest.mark.parametrize("name", FILES)
def test_texts_that_are_no_such_file(show, name):
    for n, text in enumerate(TEXTS):
        Path("bad", name).write_text(text, encoding="utf-8")
        look(show, deep=n % 10 == 0)


def array_mutations(p):
    """Contents of an .npz that differ from those of ``p`` in one array."""
    arrays = {**vars(p), "class_names": np.array(p.class_names)}
    for name, value in arrays.items():
        value = np.asarray(value)
        yield {key: other for key, other in arrays.items() if key != name}
        kinds = ("O", "f8", "f2", "c16", "i1", "u8", "?", "M8[s]", "U3", "S3", "V3", "f8,i4")
        for kind in kinds:
            yield arrays | {name: np.zeros(value.shape, kind)}
        changed = (
            [value[None], np.repeat(value[None], 2, 0).reshape(-1, *value.shape[1:])] if value.ndim else [value[None]]
        )
        changed += [value[:0], value[..., :0], value[:-1], np.float64(0.5)] if value.ndim else [value[None][:0]]
        for number in (float("nan"), float("inf"), -1, 10**6, 2**63, 1e300) if value.dtype.kind in "fiu" else ():
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                one = np.array(value, "f8" if value.dtype.kind == "f" else "u8" if number == 2**63 else value.dtype)
                try:
                    one[(0,) * one.ndim] = number
                except (ValueError, OverflowError):
                    continue
                changed.append(one)
        yield from (arrays | {name: one} for one in changed)


def test_arrays_that_no_run_writes(show):
    found = []
    for n, arrays in enumerate(array_mutations(make_predictions())):
        np.savez("bad/predictions.npz", **arrays)
        found.append(look(show, deep=n % 40 == 0))
        assert found[-1] is None or found[-1].startswith("error: bad/predictions.npz holds no predictions: ")
        if found[-1] is None:
            show()
    assert len(found) > 100 and 0 < found.count(None) < len(found) / 4


def save_npy(archive, name, header, content, **options):
    text = repr(header).encode()
    text += b" " * (-(len(text) + 11) % 64) + b"\n"
    archive.writestr(f"{name}.npy", b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text + content, **options)


HUGE = {"descr": "<f4", "fortran_order": False, "shape": (10**6, 10**6)}
DECLARED = {
    "size": ("attributes", HUGE, b"\0" * 99, {}, "declares 4000000000000 bytes and holds 99"),
    "negative": ("attributes", HUGE | {"shape": (-1, -5)}, b"\0" * 20, {}, "holds no predictions"),
    "empty texts": ("class_names", {"descr": "<U0", "fortran_order": False, "shape": (10**10,)}, b"", {}, "expected"),
    "no width": ("attributes", HUGE | {"shape": (10**12, 0)}, b"", {}, "attributes for 42 labels"),
    "bomb": ("attributes", HUGE | {"shape": (50 * 10**6, 1)}, bytes(200 * 10**6), {"compress_type": 8}, "compressed"),
    "objects": (
        "labels",
        HUGE | {"descr": "|O", "shape": (42,)},
        b"\x80\x04N.",
        {},
        "expected 1 axes of whole numbers",
    ),
    "long header": (
        "labels",
        HUGE | {"descr": [(f"a{n}", "<f4") for n in range(3000)]},
        b"",
        {},
        "holds no predictions",
    ),
}


@pytest.mark.parametrize(("name", "header", "content", "options", "message"), DECLARED.values(), ids=DECLARED)
def test_declared_sizes_take_no_memory(tmp_path, name, header, content, options, message):
    path, arrays = tmp_path / "predictions.npz", {}
    arrays = {**vars(make_predictions()), "class_names": np.array(make_predictions().class_names)}
    del arrays[name]
    np.savez(path, **arrays)
    with zipfile.ZipFile(path, "a") as archive:
        save_npy(archive, name, header, content, **options)
    del content
    tracemalloc.start()
    try:
        with pytest.raises(DataError, match=message):
            Predictions.load(path)
        assert tracemalloc.get_traced_memory()[1] < 20e6
    finally:
        tracemalloc.stop()


def test_many_classes_do_not_make_a_table_of_all_pairs(tmp_path):
    """A file of 300 kB whose confusion matrix would take 3 TB."""
    few = make_predictions(num_seen=25_000, num_unseen=1, per_class=1, num_attributes=1)
    few.save(tmp_path / "predictions.npz")
    with pytest.raises(DataError, match="25001 images of 25001 classes have more scores than memory is taken for"):
        Predictions.load(tmp_path / "predictions.npz")


def test_large_files_are_not_read(tmp_path):
    write_run(tmp_path)
    for name, size in (("results.json", 2**20), ("metrics.jsonl", 2**24), ("config.yaml", "100,000")):
        shutil.copy(tmp_path / name, tmp_path / "kept")
        with (tmp_path / name).open("ab") as file:
            file.truncate(10**10)
        tracemalloc.start()
        with pytest.raises(DataError, match=f"{name}:? (has more|longer) than {size} bytes, which no "):
            report.read_sound_runs([tmp_path])
        assert tracemalloc.get_traced_memory()[1] < 40e6
        tracemalloc.stop()
        shutil.move(tmp_path / "kept", tmp_path / name)


def test_the_largest_numbers_that_are_taken_can_be_drawn(tmp_path, monkeypatch):
    write_run(tmp_path / "bad")
    line = {"epoch": 10**7, "loss": 3e38, "ce": -3e38, "gradient_share": {"ce": float("nan"), "regression": 1}}
    (tmp_path / "bad" / "metrics.jsonl").write_text("".join(json.dumps(line | {"epoch": n}) + "\n" for n in (1, 10**7)))
    results = read_results(tmp_path / "bad")
    rows = {name: {"gamma": -3e38, "U": 0, "S": 0, "H": 0} for name in ("", "a\n$b$", "oracle")}
    (tmp_path / "bad" / "results.json").write_text(json.dumps(results | {"gzsl": rows}))
    monkeypatch.setattr(page, "_imbalance", lambda view: [])
    assert report.main([str(tmp_path / "bad")]) == 0
