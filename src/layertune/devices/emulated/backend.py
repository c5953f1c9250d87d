"""Turns this process's ggml CPU device into a card with a memory cap, by wrapping its functions in place.

ggml keeps each backend's functions in plain C structs (ggml/src/ggml-backend-impl.h). The members used here, by index:

    ggml_backend_buffer_type_i   1 alloc_buffer
    ggml_backend_buffer_i        0 free_buffer
    ggml_backend_device_i        2 get_memory   5 init_backend
    ggml_backend                 13 graph_compute   (a guid pointer, then ggml_backend_i)

`CardBackend.install` checks that the wrapping works with the loaded build before anything is served.
"""

import ctypes
from collections.abc import Callable
from typing import Any, Final

from layertune.devices.emulated.ledger import Ledger
from layertune.engine import ggml
from layertune.errors import BuildError

_API_VERSION = 2  # ggml-backend-impl.h: GGML_BACKEND_API_VERSION
_ALLOC_BUFFER, _FREE_BUFFER, _GET_MEMORY, _INIT_BACKEND, _GRAPH_COMPUTE = 1, 0, 2, 5, 13

_Pointer = ctypes.c_void_p
_SizePointer = ctypes.POINTER(ctypes.c_size_t)
_AllocBuffer: Final = ctypes.CFUNCTYPE(_Pointer, _Pointer, ctypes.c_size_t)
_FreeBuffer: Final = ctypes.CFUNCTYPE(None, _Pointer)
_GetMemory: Final = ctypes.CFUNCTYPE(None, _Pointer, _SizePointer, _SizePointer)
_InitBackend: Final = ctypes.CFUNCTYPE(_Pointer, _Pointer, ctypes.c_char_p)
_GraphCompute: Final = ctypes.CFUNCTYPE(ctypes.c_int, _Pointer, _Pointer)


class CardBackend:
    """The wrapped functions of one server. Keep a reference to it for as long as the process computes."""

    def __init__(self, ledger: Ledger, server: int) -> None:
        self._ledger = ledger
        self._server = server
        self._sizes: dict[int, int] = {}
        self._free_buffer: Any = None
        self._kept: list[Any] = []  # ctypes callbacks, which Python would free without a reference
        self.device = ggml.cpu_device()

    def install(self) -> None:
        """Wrap the functions, and check that the ledger counts.

        Raises:
            BuildError: the structs of this build's ggml have another layout.
        """
        version = ggml.backend_api_version(self.device)
        if version != _API_VERSION:
            raise BuildError(
                f"the emulated card needs ggml's backend interface {_API_VERSION} and this build has {version}",
                remedy="use the pinned llama-cpp-python of requirements.txt",
            )
        self._wrap(ggml.buffer_type(self.device), _ALLOC_BUFFER, _AllocBuffer, self._alloc_wrapper)
        self._wrap(self.device, _GET_MEMORY, _GetMemory, self._memory_wrapper)
        self._wrap(self.device, _INIT_BACKEND, _InitBackend, self._init_wrapper)
        self._check()

    def _wrap(self, struct: int, member: int, signature: Any, wrapper: Callable[[Any], Callable[..., Any]]) -> Any:
        members = ctypes.cast(struct, ctypes.POINTER(_Pointer))
        wrapped = signature(wrapper(ctypes.cast(members[member], signature)))
        self._kept.append(wrapped)
        members[member] = ctypes.cast(wrapped, _Pointer)
        return wrapped

    def _alloc_wrapper(self, original: Any) -> Callable[..., int | None]:
        def alloc_buffer(buffer_type: int, size_bytes: int) -> int | None:
            if not self._ledger.take(self._server, size_bytes):
                return None
            buffer: int | None = original(buffer_type, size_bytes)
            if buffer is None:
                self._ledger.give_back(self._server, size_bytes)
                return None
            self._wrap_free(buffer)
            self._sizes[buffer] = size_bytes
            return buffer

        return alloc_buffer

    def _wrap_free(self, buffer: int) -> None:
        """Make a buffer use the wrapped free function. It is wrapped once."""
        if self._free_buffer is None:
            self._free_buffer = self._wrap(buffer, _FREE_BUFFER, _FreeBuffer, self._free_wrapper)
        else:
            ctypes.cast(buffer, ctypes.POINTER(_Pointer))[_FREE_BUFFER] = ctypes.cast(self._free_buffer, _Pointer)

    def _free_wrapper(self, original: Any) -> Callable[[int], None]:
        def free_buffer(buffer: int) -> None:
            size_bytes = self._sizes.pop(buffer)
            original(buffer)
            self._ledger.give_back(self._server, size_bytes)

        return free_buffer

    def _memory_wrapper(self, _original: Any) -> Callable[[int, Any, Any], None]:
        def get_memory(_device: int, free: Any, total: Any) -> None:
            self._ledger.count_query(self._server)
            card = self._ledger.state()
            free[0] = max(0, card.cap_bytes - card.used_bytes)
            total[0] = card.cap_bytes

        return get_memory

    def _init_wrapper(self, original: Any) -> Callable[[int, bytes | None], int]:
        def init_backend(device: int, parameters: bytes | None) -> int:
            backend: int = original(device, parameters)
            self._wrap(backend, _GRAPH_COMPUTE, _GraphCompute, self._compute_wrapper)
            return backend

        return init_backend

    def _compute_wrapper(self, original: Any) -> Callable[[int, int], int]:
        def graph_compute(backend: int, graph: int) -> int:
            with self._ledger.computing():
                status: int = original(backend, graph)
            return status

        return graph_compute

    def _check(self) -> None:
        """Allocate and free one small buffer, and check that the ledger counts both."""
        before = self._ledger.state()
        buffer = ggml.allocate(ggml.buffer_type(self.device), 4096)
        held = self._ledger.state().used_bytes - before.used_bytes
        if buffer is not None:
            ggml.free(buffer)
        _, total_bytes = ggml.memory(self.device)
        returned = self._ledger.state().used_bytes == before.used_bytes
        self._ledger.restore(before)
        if before.cap_bytes >= 4096 and (held != 4096 or not returned or total_bytes != before.cap_bytes):
            raise BuildError(
                "the emulated card cannot count this llama.cpp build's buffers",
                remedy="use the pinned llama-cpp-python of requirements.txt",
            )
