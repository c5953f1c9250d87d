"""The ggml functions that llama-cpp-python does not bind: devices, their memory, and RPC servers."""

import ctypes
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

from layertune.engine import library
from layertune.errors import BuildError

_INTEGRATED_TYPE = 2  # ggml-backend.h: GGML_BACKEND_DEVICE_TYPE_IGPU
GPU_TYPES = frozenset({1, _INTEGRATED_TYPE})  # GGML_BACKEND_DEVICE_TYPE_GPU
CPU_TYPE = 0

# An opaque ggml_backend_dev_t.
DeviceHandle = int


class _Props(ctypes.Structure):
    """ggml-backend.h, struct ggml_backend_dev_props; the capabilities at its end are not read."""

    _fields_ = (
        ("name", ctypes.c_char_p),
        ("description", ctypes.c_char_p),
        ("memory_free", ctypes.c_size_t),
        ("memory_total", ctypes.c_size_t),
        ("type", ctypes.c_int),
        ("device_id", ctypes.c_char_p),
        ("capabilities", ctypes.c_byte * 64),
    )


class InitParams(ctypes.Structure):
    """ggml.h, struct ggml_init_params."""

    _fields_ = (("mem_size", ctypes.c_size_t), ("mem_buffer", ctypes.c_void_p), ("no_alloc", ctypes.c_bool))


@dataclass(frozen=True, slots=True)
class DeviceProps:
    """A device as ggml reports it.

    Attributes:
        backend: The name of its backend, like "CUDA", "ROCm", "Vulkan" or "MTL".
        is_integrated: Whether its memory is the machine's RAM.
        pci_bus_id: Like "0000:01:00.0"; None for a device without one.
    """

    name: str
    description: str
    free_bytes: int
    total_bytes: int
    is_gpu: bool
    pci_bus_id: str | None
    backend: str
    is_integrated: bool


@cache
def _base() -> ctypes.CDLL:
    base = ctypes.CDLL(str(library.library_path("ggml-base")))
    base.ggml_version.restype = ctypes.c_char_p
    base.ggml_commit.restype = ctypes.c_char_p
    base.ggml_backend_dev_get_props.argtypes = [ctypes.c_void_p, ctypes.POINTER(_Props)]
    base.ggml_backend_dev_get_props.restype = None
    base.ggml_backend_buft_name.argtypes = [ctypes.c_void_p]
    base.ggml_backend_buft_name.restype = ctypes.c_char_p
    base.ggml_backend_dev_memory.argtypes = [ctypes.c_void_p, *[ctypes.POINTER(ctypes.c_size_t)] * 2]
    base.ggml_backend_dev_memory.restype = None
    base.ggml_backend_reg_dev_get.argtypes = [ctypes.c_void_p, ctypes.c_size_t]
    base.ggml_backend_reg_dev_get.restype = ctypes.c_void_p
    base.ggml_backend_reg_dev_count.argtypes = [ctypes.c_void_p]
    base.ggml_backend_reg_dev_count.restype = ctypes.c_size_t
    base.ggml_backend_dev_buffer_type.argtypes = [ctypes.c_void_p]
    base.ggml_backend_dev_buffer_type.restype = ctypes.c_void_p
    base.ggml_backend_buft_alloc_buffer.argtypes = [ctypes.c_void_p, ctypes.c_size_t]
    base.ggml_backend_buft_alloc_buffer.restype = ctypes.c_void_p
    base.ggml_backend_buffer_free.argtypes = [ctypes.c_void_p]
    base.ggml_backend_buffer_free.restype = None
    base.ggml_backend_buft_get_alignment.argtypes = [ctypes.c_void_p]
    base.ggml_backend_buft_get_alignment.restype = ctypes.c_size_t
    base.ggml_backend_buft_get_alloc_size.argtypes = [ctypes.c_void_p, ctypes.c_void_p]
    base.ggml_backend_buft_get_alloc_size.restype = ctypes.c_size_t
    base.ggml_tensor_overhead.restype = ctypes.c_size_t
    base.ggml_init.argtypes = [InitParams]
    base.ggml_init.restype = ctypes.c_void_p
    base.ggml_free.argtypes = [ctypes.c_void_p]
    base.ggml_free.restype = None
    base.ggml_new_tensor.argtypes = [ctypes.c_void_p, ctypes.c_int, ctypes.c_int, ctypes.POINTER(ctypes.c_int64)]
    base.ggml_new_tensor.restype = ctypes.c_void_p
    base.ggml_backend_dev_backend_reg.argtypes = [ctypes.c_void_p]
    base.ggml_backend_dev_backend_reg.restype = ctypes.c_void_p
    base.ggml_backend_reg_name.argtypes = [ctypes.c_void_p]
    base.ggml_backend_reg_name.restype = ctypes.c_char_p
    return base


@cache
def _ggml() -> ctypes.CDLL:
    ggml = ctypes.CDLL(str(library.library_path("ggml")))
    ggml.ggml_backend_dev_count.restype = ctypes.c_size_t
    ggml.ggml_backend_dev_get.argtypes = [ctypes.c_size_t]
    ggml.ggml_backend_dev_get.restype = ctypes.c_void_p
    ggml.ggml_backend_dev_by_type.argtypes = [ctypes.c_int]
    ggml.ggml_backend_dev_by_type.restype = ctypes.c_void_p
    return ggml


@cache
def _rpc() -> ctypes.CDLL:
    path = library.library_path("ggml-rpc")
    if not path.exists():
        raise BuildError(
            "this llama-cpp-python was built without RPC, which the emulated card needs", remedy=RPC_REMEDY
        )
    rpc = ctypes.CDLL(str(path))
    rpc.ggml_backend_rpc_add_server.argtypes = [ctypes.c_char_p]
    rpc.ggml_backend_rpc_add_server.restype = ctypes.c_void_p
    rpc.ggml_backend_rpc_start_server.argtypes = [
        ctypes.c_char_p,
        ctypes.c_char_p,
        ctypes.c_size_t,
        ctypes.c_size_t,
        ctypes.POINTER(ctypes.c_void_p),
    ]
    rpc.ggml_backend_rpc_start_server.restype = None
    return rpc


RPC_REMEDY = f"rebuild it with: {library.rebuild('-DGGML_RPC=ON')}"


def version() -> str:
    """Return ggml's version."""
    return str(_base().ggml_version().decode(errors="replace"))


def commit() -> str:
    """Return the commit that ggml was built from."""
    return str(_base().ggml_commit().decode(errors="replace"))


def devices() -> list[DeviceHandle]:
    """Return the devices that llama.cpp detects, in its order."""
    ggml = _ggml()
    return [ggml.ggml_backend_dev_get(index) for index in range(ggml.ggml_backend_dev_count())]


def cpu_device() -> DeviceHandle:
    """Return the device of the CPU backend."""
    return int(_ggml().ggml_backend_dev_by_type(CPU_TYPE))


def props(device: DeviceHandle) -> DeviceProps:
    """Return a device's properties, with the memory that is free now."""
    raw, base = _Props(), _base()
    base.ggml_backend_dev_get_props(device, ctypes.byref(raw))
    backend = base.ggml_backend_reg_name(base.ggml_backend_dev_backend_reg(device))
    return DeviceProps(
        name=raw.name.decode(errors="replace"),
        description=raw.description.decode(errors="replace"),
        free_bytes=_signed(raw.memory_free),
        total_bytes=raw.memory_total,
        is_gpu=raw.type in GPU_TYPES,
        pci_bus_id=raw.device_id.decode(errors="replace") if raw.device_id else None,
        backend=backend.decode(errors="replace"),
        is_integrated=raw.type == _INTEGRATED_TYPE,
    )


def buffer_name(device: DeviceHandle) -> str:
    """Return how llama.cpp's log names the device's buffers, like "CUDA0" or "RPC0[127.0.0.1:40001]"."""
    return str(_base().ggml_backend_buft_name(buffer_type(device)).decode(errors="replace"))


def memory(device: DeviceHandle) -> tuple[int, int]:
    """Return the device's (free, total) memory in bytes as its backend reports them.

    Free is negative by what an overfull device holds in the machine's RAM. Vulkan reports budget minus usage there, and
    its size_t is then close to 2^64 (ggml-vulkan.cpp, ggml_backend_vk_get_device_memory).
    """
    free, total = ctypes.c_size_t(), ctypes.c_size_t()
    _base().ggml_backend_dev_memory(device, ctypes.byref(free), ctypes.byref(total))
    return _signed(free.value), total.value


def _signed(size: int) -> int:
    """Return a size_t that was computed by a subtraction below 0 as that negative number."""
    return ctypes.c_int64(size).value


def buffer_type(device: DeviceHandle) -> int:
    """Return the device's default buffer type, an opaque ggml_backend_buffer_type_t."""
    return int(_base().ggml_backend_dev_buffer_type(device))


def alignment(buffer_type: int) -> int:
    """Return the alignment of tensors in buffers of this type, in bytes."""
    return int(_base().ggml_backend_buft_get_alignment(buffer_type))


def tensor_bytes(buffer_type: int, tensor_type: int, shape: Sequence[int]) -> int:
    """Return the bytes that a tensor takes in a buffer of this type.

    Backends may pad rows (ggml_backend_buft_get_alloc_size).

    Args:
        buffer_type: The buffer type.
        tensor_type: The tensor's `ggml_type` (ggml.h).
        shape: The tensor's extents, innermost first.
    """
    base = _base()
    context = base.ggml_init(InitParams(2 * base.ggml_tensor_overhead(), None, True))
    try:
        tensor = base.ggml_new_tensor(context, tensor_type, len(shape), (ctypes.c_int64 * len(shape))(*shape))
        return int(base.ggml_backend_buft_get_alloc_size(buffer_type, tensor))
    finally:
        base.ggml_free(context)


def backend_api_version(device: DeviceHandle) -> int:
    """Return the version of ggml's backend interface: the first member of `struct ggml_backend_reg`."""
    registration = int(_base().ggml_backend_dev_backend_reg(device))
    return ctypes.c_int.from_address(registration).value


def allocate(buffer_type: int, size_bytes: int) -> int | None:
    """Allocate a buffer; return None if the device refuses it."""
    buffer = _base().ggml_backend_buft_alloc_buffer(buffer_type, size_bytes)
    return None if buffer is None else int(buffer)


def free(buffer: int) -> None:
    """Free a buffer of `allocate`."""
    _base().ggml_backend_buffer_free(buffer)


def add_rpc_server(endpoint: str) -> DeviceHandle | None:
    """Register the RPC server at `"127.0.0.1:PORT"` and return its first device, or None if it offers none.

    llama.cpp aborts this process if no server listens there, so check that first.

    Raises:
        BuildError: llama.cpp was built without RPC.
    """
    registration = _rpc().ggml_backend_rpc_add_server(endpoint.encode())
    if registration is None or _base().ggml_backend_reg_dev_count(registration) == 0:
        return None
    return int(_base().ggml_backend_reg_dev_get(registration, 0))


def serve_rpc(endpoint: str, device: DeviceHandle, n_threads: int) -> None:
    """Serve `device` over RPC at `endpoint`; return only if the socket cannot be opened.

    Raises:
        BuildError: llama.cpp was built without RPC.
    """
    served = (ctypes.c_void_p * 1)(device)
    _rpc().ggml_backend_rpc_start_server(endpoint.encode(), None, n_threads, 1, served)
