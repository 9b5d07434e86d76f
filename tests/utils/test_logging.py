import io
import logging
import os
import re
import resource
import sys
from pathlib import Path

import numpy as np
import pytest
from tqdm import tqdm

from REZSL.report import Table
from REZSL.utils.errors import DataError
from REZSL.utils.logging import close_logging, setup_logging

log = logging.getLogger("REZSL.data.anything")


@pytest.fixture(autouse=True)
def _leave_the_logger_as_it_was():
    logger = logging.getLogger("REZSL")
    before = logger.level, logger.propagate
    yield
    close_logging()
    logger.level, logger.propagate = before


def test_bare_lines_on_the_console_and_timed_lines_in_the_file(tmp_path, capsys):
    setup_logging(tmp_path / "log.txt")
    log.info("größe %d", 3)
    log.debug("too much")
    logging.getLogger("other").warning("not ours")
    assert capsys.readouterr().out == "größe 3\n"
    text = (tmp_path / "log.txt").read_text(encoding="utf-8")
    assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d+ INFO REZSL\.data\.anything: größe 3\n", text)


def test_lines_do_not_come_twice_through_the_root_logger(caplog, capsys):
    setup_logging()
    log.info("once")
    assert not caplog.records and capsys.readouterr().out == "once\n"


def test_a_later_set_up_replaces_the_earlier(tmp_path, capsys):
    for name in ("a.txt", "b.txt"):
        setup_logging(tmp_path / name)
        log.info("to %s", name)
    assert capsys.readouterr().out == "to a.txt\nto b.txt\n"
    for name in ("a.txt", "b.txt"):
        assert (tmp_path / name).read_text().count("\n") == 1


def test_the_file_is_appended_to(tmp_path):
    for _ in range(2):
        setup_logging(tmp_path / "log.txt")
        log.info("again")
    assert (tmp_path / "log.txt").read_text().count("again") == 2


def test_closing_removes_every_handler(tmp_path, capsys):
    setup_logging(tmp_path / "log.txt")
    log.info("before")
    close_logging()
    close_logging()
    log.info("after")
    assert logging.getLogger("REZSL").handlers == []
    assert capsys.readouterr().out == "before\n" and "after" not in (tmp_path / "log.txt").read_text()


FORGED = "x\n2026-01-01 00:00:00,000 INFO REZSL: all is well\x1b[2J"


@pytest.mark.parametrize("level", ["info", "warning"])
@pytest.mark.parametrize("kind", [str, Path, DataError, OSError])
def test_names_neither_forge_lines_nor_reach_the_terminal(tmp_path, capsys, level, kind):
    setup_logging(tmp_path / "log.txt")
    getattr(log, level)("\nreading %s (%d of %.1f)", kind(FORGED), np.int64(3), np.float32(4))
    close_logging()
    said = "".join(capsys.readouterr())
    line = r"reading x\n2026-01-01 00:00:00,000 INFO REZSL: all is well\x1b[2J (3 of 4.0)"
    assert said == f"\n{line}\n"
    assert (tmp_path / "log.txt").read_text(encoding="utf-8").splitlines()[1:] == [line]


def test_tables_keep_their_lines_and_nothing_else_of_them_acts(capsys):
    setup_logging()
    log.info("a\n%s", Table(["a\nb"], [["\x1b[2J"], ["é"]]).text())
    log.info("in one string: \x1b[2J\nnext")
    assert capsys.readouterr().out.splitlines() == ["a", r"a\nb", r"\x1b[2J", "é", r"in one string: \x1b[2J", "next"]


@pytest.mark.parametrize(
    ("encoding", "shown"), [("ascii", r"\xb1 \u4e2d \U0001f600"), ("cp1252", r"± \u4e2d \U0001f600")]
)
def test_a_narrow_console_is_written_to_all_the_same(tmp_path, monkeypatch, encoding, shown):
    streams = {name: io.TextIOWrapper(io.BytesIO(), encoding=encoding) for name in ("stdout", "stderr")}
    for name, stream in streams.items():
        monkeypatch.setattr(sys, name, stream)
    setup_logging(tmp_path / "log.txt")
    for level in (log.info, log.error):
        level("%s", "± 中 \N{GRINNING FACE}")
    for _ in tqdm(range(2), desc="中"):
        log.info("beside a bar ±")
    print("± from elsewhere")
    for name, stream in streams.items():
        stream.flush()
        assert shown in stream.buffer.getvalue().decode(encoding), name
    assert "± 中 \N{GRINNING FACE}" in (tmp_path / "log.txt").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", ["stdout", "stderr"])
def test_a_reader_who_leaves_ends_nothing(tmp_path, monkeypatch, name):
    """As ``| head -1``: the log goes on, and what Python has buffered comes to nothing too."""
    reading, writing = os.pipe()
    with open(writing, "w") as stream:
        monkeypatch.setattr(sys, name, stream)
        setup_logging(tmp_path / "log.txt")
        os.close(reading)
        for n in range(3):
            (log.info if name == "stdout" else log.warning)("line %d", n)
        close_logging()
    assert len((tmp_path / "log.txt").read_text().splitlines()) == 3


def test_a_full_disk_ends_the_log_and_nothing_else(tmp_path, capsys):
    setup_logging(tmp_path / "log.txt")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (200, before[1]))
    try:
        for n in range(9):
            log.info("line %d", n)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        close_logging()
    output, errors = capsys.readouterr()
    assert output.splitlines() == [f"line {n}" for n in range(9)]
    assert errors == f"the log {tmp_path}/log.txt ends here: [Errno 27] File too large\n"
