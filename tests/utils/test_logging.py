import logging
import os
import re
import resource
import sys

import pytest

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
