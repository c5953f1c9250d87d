"""Measures how fast a device copies its own memory, with ggml's copy operation.

Every ggml backend implements it, so one measurement serves CUDA, Vulkan, Metal and the others.
"""

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from time import perf_counter

from layertune.engine import library
from layertune.engine.ggml import DeviceHandle, InitParams

_F32, _F32_BYTES = 0, 4  # ggml.h: GGML_TYPE_F32
_SUCCESS = 0  # ggml.h: GGML_STATUS_SUCCESS


def copy_bandwidths(device: DeviceHandle, size_bytes: int, n_copies: int) -> list[float] | None:
    """Copy a buffer on the device several times and return the rate of each copy, after one unmeasured copy.

    Args:
        device: The device whose memory is measured.
        size_bytes: The size of the source. The target is as large.
        n_copies: The number of measured copies.

    Returns:
        Bytes read and written per second, in order. None if the device has no room for both buffers or cannot copy.
    """
    base = _base()
    with _backend(base, device) as backend, _context(base) as context:
        if backend is None:
            return None
        shape = (ctypes.c_int64 * 1)(size_bytes // _F32_BYTES)
        source, target = (base.ggml_new_tensor(context, _F32, 1, shape) for _ in range(2))
        graph = base.ggml_new_graph(context)
        base.ggml_build_forward_expand(graph, base.ggml_cpy(context, source, target))
        buffer = base.ggml_backend_alloc_ctx_tensors(context, backend)
        if buffer is None:
            return None
        try:
            base.ggml_backend_buffer_clear(buffer, 0)  # the driver may not back memory that was never written
            found = []
            for n_copy in range(n_copies + 1):
                started_s = perf_counter()
                if base.ggml_backend_graph_compute(backend, graph) != _SUCCESS:
                    return None
                if n_copy > 0:  # the first one warms up
                    found.append(2 * size_bytes / (perf_counter() - started_s))
            return found
        finally:
            base.ggml_backend_buffer_free(buffer)


@contextmanager
def _backend(base: ctypes.CDLL, device: DeviceHandle) -> Iterator[int | None]:
    backend = base.ggml_backend_dev_init(device, None)
    try:
        yield backend
    finally:
        if backend is not None:
            base.ggml_backend_free(backend)


@contextmanager
def _context(base: ctypes.CDLL) -> Iterator[int]:
    size_bytes = 8 * base.ggml_tensor_overhead() + base.ggml_graph_overhead()
    context = base.ggml_init(InitParams(size_bytes, None, True))
    try:
        yield context
    finally:
        base.ggml_free(context)


@cache
def _base() -> ctypes.CDLL:
    library.load()
    base = ctypes.CDLL(str(library.library_path("ggml-base")))
    pointer = ctypes.c_void_p
    for name, result, arguments in (
        ("ggml_tensor_overhead", ctypes.c_size_t, []),
        ("ggml_graph_overhead", ctypes.c_size_t, []),
        ("ggml_init", pointer, [InitParams]),
        ("ggml_free", None, [pointer]),
        ("ggml_new_tensor", pointer, [pointer, ctypes.c_int, ctypes.c_int, ctypes.POINTER(ctypes.c_int64)]),
        ("ggml_cpy", pointer, [pointer, pointer, pointer]),
        ("ggml_new_graph", pointer, [pointer]),
        ("ggml_build_forward_expand", None, [pointer, pointer]),
        ("ggml_backend_dev_init", pointer, [pointer, ctypes.c_char_p]),
        ("ggml_backend_free", None, [pointer]),
        ("ggml_backend_alloc_ctx_tensors", pointer, [pointer, pointer]),
        ("ggml_backend_buffer_clear", None, [pointer, ctypes.c_uint8]),
        ("ggml_backend_buffer_free", None, [pointer]),
        ("ggml_backend_graph_compute", ctypes.c_int, [pointer, pointer]),
    ):
        function = getattr(base, name)
        function.restype, function.argtypes = result, arguments
    return base
