"""Installs, conversions and exports whose process is killed by SIGKILL at a moment of choice.

with Executioner(ova, uri, plan=plan) as executioner:
    executioner.run(17)        # killed before or after the system call that is its 17th moment; whether it was
    executioner.recover(3)     # the same of a recovery

A moment is the begin or the end of a system call that changes something, or of a call of libvirt or vSphere, from the
beginning of the journal on. The installs run in processes that are forked from one, which saves the time to start
Python.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any, Self

from tests.build.command import environment

_CHANGING = frozenset(
    {"open", "write", "pwrite", "pwritev", "fsync", "ftruncate", "mkdir", "rmdir", "unlink", "fchmod"}
)


class Executioner:
    """A process that runs installs."""

    def __init__(
        self, ova: Path | str, uri: str, *, plan: str = "", pool: str | None = None, machine: str = ""
    ) -> None:
        """Install `ova` on `uri`, by `plan` as JSON; or convert it, if that is the absolute path of a file.

        With a `machine`, `ova` is a URI where that is, and it is exported to the file.
        """
        task = json.dumps({"ova": str(ova), "uri": uri, "plan": plan, "pool": pool, "machine": machine})
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.build.killed", task],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=Path(__file__).parents[2],
        )

    def count(self) -> int:
        """Install, and let it live; how many moments that had."""
        return self._ask("install", 1 << 60)

    def run(self, number: int) -> bool:
        """Install, and kill it at the moment `number`; whether it was killed, and did not end before."""
        return self._ask("install", number) == -signal.SIGKILL

    def recover(self, number: int) -> bool:
        """Recover, and kill that at the moment `number`; whether it was killed."""
        return self._ask("recover", number) == -signal.SIGKILL

    def _ask(self, verb: str, number: int) -> int:
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.write(f"{verb} {number}\n")
        self._process.stdin.flush()
        answer = int(self._process.stdout.readline())
        assert answer >= 0 or answer == -signal.SIGKILL, answer
        return answer

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.communicate()


STUCK = """
import importlib, operator, os, sys, threading
from virt_ova.cli import main
from virt_ova.stories.building import PackageBuild

def stick(frame, event, argument):
    global times
    is_it = (frame.f_code, event) == (code, "return")
    times -= is_it
    if (is_it and times == 0) or (is_image and frame.f_code is PackageBuild._define.__code__ and event == "call"):
        sys.setprofile(None)
        print("here", flush=True)
        sys.stdin.read()

module, function, times = sys.argv[1].split(":")
times, is_image = int(times), function == "FileSink.finish"
code = operator.attrgetter(function)(importlib.import_module(module)).__code__
sys.setprofile(stick)
threading.setprofile(stick)
sys.exit(main(sys.argv[2:]))
"""

IMAGE_IS_WHOLE = "virt_ova.disk.sink:FileSink.finish"


@contextmanager
def stuck(
    *words: str | Path, images: int = 1, verb: str = "install", at: str = IMAGE_IS_WHOLE, **variables: str
) -> Iterator[subprocess.Popen[str]]:
    """An install (`verb`) that waits when so many images are whole, or all; killed at the end of the block.

    It may as well wait behind another function, called `at`, that was called so often.
    """
    with subprocess.Popen(
        [sys.executable, "-c", STUCK, f"{at}:{images}", verb, *map(str, words)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env=environment(**variables),
    ) as process:
        assert process.stdout
        assert process.stdout.readline() == "here\n"
        yield process
        process.kill()


class _Moment:
    """A profiler that kills at the Nth moment."""

    def __init__(self, number: int, begin: Callable[..., object], *changing: Callable[..., object]) -> None:
        self._number = number
        self.count = 0
        self._begin, self._changing = begin.__code__, {each.__code__ for each in changing}
        self._is_on = False

    def __call__(self, frame: FrameType, event: str, argument: object) -> None:
        self._is_on = self._is_on or frame.f_code is self._begin
        if self._is_on and self._is_moment(frame, event, argument):
            if self.count == self._number:
                os.kill(os.getpid(), signal.SIGKILL)
            self.count += 1

    def _is_moment(self, frame: FrameType, event: str, argument: object) -> bool:
        if event in {"call", "return"}:
            return frame.f_code in self._changing
        module = getattr(argument, "__module__", "") or ""
        name: str = getattr(argument, "__name__", "")
        return (module == "posix" and name in _CHANGING) or name.startswith("vir")


def _main() -> None:
    from virt_ova.kernel import rename_new  # noqa: PLC0415 - in the process that runs them alone
    from virt_ova.stories.journal import Journal  # noqa: PLC0415
    from virt_ova.stories.logbook import logbooks  # noqa: PLC0415
    from virt_ova.target.registry import open_exporter, open_target  # noqa: PLC0415

    task = json.loads(sys.argv[1])
    changing: list[Callable[..., object]] = [rename_new]
    if task["machine"]:
        open_exporter(task["ova"]).close()  # loads what is needed
    elif not task["uri"].startswith(("/", "dir:")):
        open_target(task["uri"], pool=task["pool"]).close()
    if vsphere := sys.modules.get("pyVmomi"):
        changing.append(vsphere.SoapStubAdapter.InvokeMethod)
    for line in sys.stdin:
        verb, number = line.split()
        work = _work(task, verb)
        if (child := os.fork()) == 0:
            moment = _Moment(int(number), Journal.__enter__ if verb == "install" else logbooks, *changing)
            try:
                sys.setprofile(moment)
                work()
                sys.setprofile(None)
                print(moment.count, flush=True)  # noqa: T201 - the answer
                os._exit(0)
            except BaseException:  # noqa: BLE001 - no way back into the loop of the parent
                traceback.print_exc()
                os._exit(1)
        if status := os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]):
            print(-abs(status), flush=True)  # noqa: T201 - as above


def _work(task: dict[str, Any], verb: str) -> Callable[[], object]:
    """What is to be done."""
    from virt_ova import InstallOptions, convert, export, install, recover  # noqa: PLC0415 - as above
    from virt_ova.plan.codec import from_json  # noqa: PLC0415

    if verb == "recover":
        return recover
    if task["machine"]:
        return partial(export, task["ova"], task["machine"], task["uri"])
    if task["uri"].startswith("/"):
        return partial(convert, task["ova"], task["uri"])
    options = InstallOptions(pool=task["pool"])
    return partial(install, task["ova"], task["uri"], plan=from_json(task["plan"]), options=options)


if __name__ == "__main__":
    _main()
