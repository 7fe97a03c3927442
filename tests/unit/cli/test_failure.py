import errno
import signal
import threading

import pytest

from virt_ova.cli.failure import failure_of, status_of
from virt_ova.cli.parser import UsageError
from virt_ova.errors import RollbackError, TargetError
from virt_ova.interrupt import Interrupted

OURS = TargetError("no", code="E_IO")


@pytest.mark.parametrize(
    ("exc", "status", "code", "message"),
    [
        (OURS, 1, "E_IO", "no"),
        (UsageError("what?"), 2, "E_USAGE", "what?"),
        (RollbackError("left", code="E_ROLLBACK"), 3, "E_ROLLBACK", "left"),
        (Interrupted(signal.SIGTERM), 143, "E_INTERRUPTED", "stopped by SIGTERM"),
        (MemoryError(), 1, "E_MEMORY", "there is not enough memory"),
        (OSError(errno.ENOMEM, "Cannot allocate memory"), 1, "E_MEMORY", "there is not enough memory"),
        (
            ImportError("/x/_deflate.abi3.so: failed to map segment from shared object"),
            *(1, "E_MEMORY", "there is not enough memory"),
        ),
        *(
            (OSError(number, ""), 1, "E_MEMORY", "too many files are open, and the system opens no more")
            for number in (errno.EMFILE, errno.ENFILE)
        ),
        (ImportError("odd"), 1, "E_INTERNAL", "internal error: ImportError: odd"),
        (RuntimeError("odd"), 1, "E_INTERNAL", "internal error: RuntimeError: odd"),
        (OSError(errno.EIO, "odd\x1b"), 1, "E_INTERNAL", r"internal error: OSError: [Errno 5] odd\x1b"),
    ],
)
def test_every_exception_has_an_error_and_a_status(exc: BaseException, status: int, code: str, message: str) -> None:
    error = failure_of(exc)
    assert (status_of(exc), error.code, str(error)) == (status, code, message)


def test_an_error_of_ours_is_told_as_it_is() -> None:
    assert failure_of(OURS) is OURS


def test_a_thread_that_is_refused_is_a_lack_of_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    for starter in ("_start_new_thread", "_start_joinable_thread"):  # until Python 3.12, and since
        monkeypatch.setattr(threading, starter, _refuse, raising=False)
    with pytest.raises(RuntimeError) as caught:
        threading.Thread(target=print).start()
    assert failure_of(caught.value).code == "E_MEMORY"


def _refuse(*_: object, **__: object) -> None:
    """As CPython does (``thread_PyThread_start_new_thread``)."""
    raise RuntimeError("can't start new thread")
