"""Where a case of ``tools/torture.py`` happens: a folder with small data, and command lines started in it."""

import os
import re
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
import yaml

REPOSITORY = Path(__file__).resolve().parents[2]
sys.path.append(str(REPOSITORY / "tests"))

from stand_ins import TinyData  # noqa: E402

STARTING = 240.0  # seconds a command may take to come so far that it can be harmed
SOON = 60.0  # seconds that it may take to end then, on a machine much slower than most
EXPERIMENT = {
    "SEED": 5,
    "MODEL": {"DEVICE": "cpu", "BACKBONE": {"NAME": "resnet18", "PRETRAINED": False}},
    "DATASETS": {"NAME": "TINY", "WAYS": 4, "SHOTS": 2, "IMAGE_SIZE": 32, "CHECK_IMAGES": False},
    "DATALOADER": {"NUM_WORKERS": 2, "N_BATCH": 10},
    "SOLVER": {"MAX_EPOCH": 2, "BASE_LR": 0.01},
    "TEST": {"IMS_PER_BATCH": 8},
}
FEATURES = ["DATASETS.INPUT", "features", "MODEL.BACKBONE.TYPE", "features"]
FROZEN = "MODEL.BACKBONE.FINETUNE False SOLVER.DATA_AUG resize_crop"
STOPPED = "the same command with --resume goes on"
SCRIPT = """
import os, sys
sys.path[:0] = {paths!r}
if __name__ == "__main__":
    {before}
    import train
    from REZSL.utils.command import leave
    leave(train.main(sys.argv[1:] + ({second!r} if os.environ.get("RANK") == "1" else [])))
"""


def failing(what: str) -> str:
    """Code that goes before a command: its first step ends so."""
    return f"from REZSL.engine import Trainer\ndef fails(*_, **__):\n  {what}\nTrainer._after_step = fails"


class NotHere(Exception):
    """Something that a case needs is not on this machine, or not allowed."""


class Place:
    """A folder with data, an experiment, and the runs of a case.

    Args:
        root: an empty folder.
    """

    def __init__(self, root: Path) -> None:
        self.root, self.run, self.last = root, root / "run", root / "run" / "last.pth"
        self.data = TinyData(root / "data").write().write_images().write_embeddings()
        images = [self.data.image_root / "TINY_200" / tail for tail in self.data.tails]
        self.train_image, self.test_image = images[0], images[self.data.per_class]  # of a seen and an unseen class
        self.saving_often = "SOLVER.CHECKPOINT_MINUTES", "0.005"
        self.started: list[Run] = []
        (root / "experiment.yaml").write_text(yaml.safe_dump(EXPERIMENT))

    def damage(self, image: Path) -> None:
        """Cuts an image to 200 bytes."""
        image.write_bytes(image.read_bytes()[:200])

    def hanging(self, image: Path) -> str:
        """Code that goes before a command: whoever opens ``image`` waits for ever."""
        return (
            "import time; from PIL import Image; original = Image.open\n"
            "def hangs(path, *more, **options):\n"
            f"  if str(path) == {str(image)!r}: time.sleep(3600)\n"
            "  return original(path, *more, **options)\n"
            "Image.open = hangs"
        )

    def checkpoint(self, name: str = "last.pth") -> dict[str, Any]:
        """Reads a checkpoint of the run."""
        return torch.load(self.run / name, weights_only=True)

    def start(
        self,
        *words: str,
        folder: str = "run",
        processes: int = 1,
        before: str = "pass",
        second: Sequence[str] = (),
        mounts: Mapping[str, str] | None = None,
        shell: str = "",
        read_lines: int | None = None,
    ) -> "Run":
        """Starts ``tools/train.py`` with the experiment and ``words``.

        Args:
            *words: of the command line.
            folder: OUTPUT_DIR, under the place's root.
            processes: started by torchrun, where they are several.
            before: code that goes before it.
            second: words that only process 1 gets.
            mounts: folders that are small disks of their own, and their sizes; needs root.
            shell: a line that goes before the command in its shell.
            read_lines: of the output, then nobody reads on; None: all.
        """
        paths = [str(REPOSITORY), str(REPOSITORY / "tools")]
        script = self.root / f"script_{len(self.started)}.py"
        code = before.replace("\n", "\n    ")
        script.write_text(SCRIPT.format(paths=paths, before=code, second=list(second)))
        several = ["-m", "torch.distributed.run", "--standalone", f"--nproc_per_node={processes}"]
        command = [sys.executable, *(several if processes > 1 else []), str(script)]
        command += ["--config-file", str(self.root / "experiment.yaml"), "OUTPUT_DIR", str(self.root / folder)]
        command += ["DATASETS.ROOT", str(self.data.root), "DATALOADER.CACHE_DIR", str(self.root / "cache"), *words]
        line = f"exec {shlex.join(command)}"
        line = f"{shell}\n{line}" if shell else line
        if read_lines is not None:
            line = f"set -o pipefail; {shlex.join(command)} | head -{read_lines}"
        for target, size in (mounts or {}).items():
            line = f"mount -t tmpfs -o size={size} none {target} || exit 99\n{line}"
        run = Run(
            [*(["unshare", "-m"] if mounts else []), "bash", "-c", line], self.root / f"said_{len(self.started)}.txt"
        )
        self.started.append(run)
        return run

    def clear(self) -> None:
        """Ends what is left."""
        for run in self.started:
            run.kill()


class Run:
    """A command in a session of its own; what it says goes to a file."""

    def __init__(self, command: Sequence[str], said: Path) -> None:
        self.said = said
        environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(REPOSITORY)}
        with open(said, "w") as file:
            self.process = subprocess.Popen(
                command, stdout=file, stderr=file, stdin=subprocess.DEVNULL, start_new_session=True, env=environment
            )

    def waits_for(self, what: str | Path) -> "Run":
        """Waits until a file is there, or a text was said."""
        deadline = time.monotonic() + STARTING
        while not (what.exists() if isinstance(what, Path) else what in self.said.read_text()):
            self._check(self.process.poll() is None, f"it ended before {what}")
            self._check(time.monotonic() < deadline, f"no {what} within {STARTING:.0f} s")
            time.sleep(0.05)
        self.harmed = time.monotonic()
        return self

    def send(self, number: int) -> None:
        """Sends a signal to every process of the session, as a terminal or a batch system does."""
        self.harmed = time.monotonic()
        for pid in self.alive():
            with suppress(ProcessLookupError):
                os.kill(pid, number)

    def ends(self, status: int, told: str = "") -> str:
        """Waits for the end, which leaves no process behind, and returns what was said.

        Raises:
            AssertionError: it does not come, with another status, or without a line that matches ``told``.
        """
        limit = SOON if hasattr(self, "harmed") else STARTING
        try:
            found = self.process.wait(limit)
        except subprocess.TimeoutExpired:
            self._check(False, f"still running after {limit:.0f} s")
        if found == 99 and "mount" in self.said.read_text():
            raise NotHere("mounting is not allowed")
        self._check(found == status, f"exit status {found}, not {status}")
        self._check(re.search(told, self.said.read_text()) is not None, f"nothing like {told!r} was said")
        deadline = time.monotonic() + SOON
        while left := self.alive():
            self._check(time.monotonic() < deadline, f"{len(left)} processes are left")
            time.sleep(0.1)
        return self.said.read_text()

    def kill_a_loading_process(self) -> None:
        """Sends SIGKILL to the youngest process of the session that is a copy of its parent."""
        lines = {pid: _status(pid) for pid in self.alive()}
        copies = [pid for pid, (parent, line) in lines.items() if parent in lines and lines[parent][1] == line]
        self._check(bool(copies), "there are no loading processes")
        os.kill(max(copies), signal.SIGKILL)

    def ranks(self) -> list[int]:
        """The processes that torchrun started."""
        return [pid for pid in self.alive() if _status(pid)[0] == self.process.pid]

    def alive(self) -> list[int]:
        """The processes of the session, and those that they started in sessions of their own, but for zombies."""
        found, known = {}, {self.process.pid, *getattr(self, "seen", ())}
        for folder in Path("/proc").iterdir():
            if folder.name.isdigit():
                try:
                    fields = (folder / "stat").read_text().rpartition(")")[2].split()
                except OSError:  # it has just ended
                    continue
                found[int(folder.name)] = fields
        grown = True
        while grown:
            more = {pid for pid, fields in found.items() if int(fields[1]) in known or int(fields[3]) in known} - known
            known, grown = known | more, bool(more)
        self.seen = known
        return sorted(pid for pid in known if pid in found and found[pid][0] not in "ZX")

    def kill(self) -> None:
        """Ends every process of the session."""
        for pid in self.alive():
            os.kill(pid, signal.SIGKILL)
        self.process.wait()

    def _check(self, right: bool, problem: str) -> None:
        if not right:
            raise AssertionError(f"{problem}; the last that was said: {self.said.read_text()[-600:]!r}")


def _status(pid: int) -> tuple[int, bytes]:
    """The parent and the command line of a process."""
    try:
        folder = Path("/proc") / str(pid)
        return int((folder / "stat").read_text().rpartition(")")[2].split()[1]), (folder / "cmdline").read_bytes()
    except OSError:
        return 0, b""
