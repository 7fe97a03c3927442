"""What is taken for an answer of the vSphere API, and how much of it.

pyvmomi believes whoever answers: it makes `KeyError` and the like of what it does not understand, nothing at all of
another document, and inflates what is compressed without end. Here each of them is a broken line, as is a page of HTML.
"""

from __future__ import annotations

from typing import Any, Final

from pyVmomi import SoapStubAdapter, vmodl
from pyVmomi.VmomiSupport import F_OPTIONAL, DataObject, ManagedObject

from virt_ova.target.esx.errors import BROKEN_LINE, GarbledError
from virt_ova.target.esx.tls import PinnedConnection, WholeAnswer
from virt_ova.text import printable
from virt_ova.units import MIB, format_bytes

MAX_ANSWER_BYTES: Final = 16 * MIB
"""Of one answer: enough for the names of 50,000 machines, or the largest descriptor."""

_PLAIN: Final = frozenset({"", "identity"})


class BoundedAnswer(WholeAnswer):
    """An answer of the API: not compressed, and no longer than it may be."""

    _left = MAX_ANSWER_BYTES

    def begin(self) -> None:
        """Read its head. Raises `GarbledError` when its body is compressed, which nobody asked for."""
        super().begin()
        if (encoding := str(self.headers["Content-Encoding"] or "").lower()) not in _PLAIN:
            raise GarbledError(f"it is compressed ({printable(encoding)}), which was not asked for")

    def read(self, amt: int | None = None) -> bytes:
        """The next of its bytes. Raises `GarbledError` when there are too many."""
        data = super().read(self._left + 1 if amt is None else amt)
        self._left -= len(data)
        if self._left < 0:
            raise GarbledError(f"it has more than {format_bytes(MAX_ANSWER_BYTES)}")
        return data


class ApiConnection(PinnedConnection):
    """A connection to the API, whose end is the end of its answer, too, though that was not read to its own."""

    response_class = BoundedAnswer
    _answer: WholeAnswer | None = None

    def getresponse(self) -> WholeAnswer:
        """See `http.client.HTTPConnection.getresponse`."""
        self._answer = super().getresponse()
        return self._answer

    def close(self) -> None:
        """Release the line."""
        super().close()
        if self._answer:
            self._answer.close()


class Stub(SoapStubAdapter):  # type: ignore[misc]  # pyvmomi has no types
    """pyvmomi's connection, which raises faults, and what is in `BROKEN_LINE` for all else that may come."""

    def InvokeMethod(self, mo: Any, info: Any, args: Any, outerStub: Any = None) -> Any:  # noqa: ANN401, N802, N803 - pyvmomi's
        """What the server answers; no list is an empty one. Raises `GarbledError` when that is no answer to this."""
        try:
            result = super().InvokeMethod(mo, info, args, outerStub)
        except (vmodl.MethodFault, *BROKEN_LINE):
            raise
        except Exception as exc:
            raise GarbledError(printable(f"{type(exc).__name__}: {exc}")) from exc
        if not _fits(result, info):
            raise GarbledError(f"{info.wsdlName} is answered by {printable(type(result).__name__)}")
        return info.result() if result is None and issubclass(info.result, list) else result


def _fits(result: Any, info: Any) -> bool:  # noqa: ANN401 - pyvmomi has no types
    """Whether it is what the question asks for; numbers and texts are taken as they come."""
    wanted = info.result
    if result is None:
        return wanted is type(None) or issubclass(wanted, list) or bool(info.resultFlags & F_OPTIONAL)
    if issubclass(wanted, list):
        return isinstance(result, list)
    return not issubclass(wanted, DataObject | ManagedObject) or isinstance(result, wanted)
