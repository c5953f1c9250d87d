"""A loaded model, with llama-server's parameters."""

import ctypes
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from layertune.engine import ggml, library
from layertune.engine.buffer_log import read_buffers
from layertune.engine.refusal import EngineRefused
from layertune.tensor_split import TensorSplit


class _Override(ctypes.Structure):
    """llama.h, struct llama_model_tensor_buft_override, which llama-cpp-python does not bind."""

    _fields_ = (("pattern", ctypes.c_char_p), ("buffer_type", ctypes.c_void_p))


class Model:
    """A model's weights in memory.

    Attributes:
        buffers: The sizes of its buffers by device, as llama.cpp logged them.
        buffer_names: The names of the devices' buffers in llama.cpp's log, in the order of the devices.
        n_vocab: The number of tokens in its vocabulary.
        n_embd: The number of values in its embeddings.
        n_scores: The number of scores that a reranking model gives each document.
        pointer: llama.cpp's `llama_model *`; None after `close`.
    """

    def __init__(
        self,
        path: Path,
        n_gpu_layers: int,
        devices: Sequence[ggml.DeviceHandle],
        *,
        tensor_split: TensorSplit = (),
        host_tensors: Sequence[str] = (),
        no_alloc: bool = False,
    ) -> None:
        """Load the weights.

        Args:
            path: The GGUF file.
            n_gpu_layers: The number of layers on `devices`; the others stay on the host.
            devices: The devices to offload to, none for the CPU alone.
            tensor_split: The devices' shares of the layers. Without it llama.cpp splits by their free memory.
            host_tensors: Regular expressions; tensors whose names match one stay on the host.
            no_alloc: Read and allocate nothing. llama.cpp then only logs what it would allocate.

        Raises:
            EngineRefused: llama.cpp does not load the file.
        """
        self._llama_cpp = library.load()
        self.buffer_names = tuple(ggml.buffer_name(device) for device in devices)
        # The list ends with NULL; an empty one keeps every layer on the host (llama.cpp, llama_model_params.devices).
        device_list = (ctypes.c_void_p * (len(devices) + 1))(*devices, None)
        parameters = self._llama_cpp.llama_model_default_params()
        parameters.n_gpu_layers = n_gpu_layers
        parameters.devices = ctypes.cast(device_list, ctypes.c_void_p)
        if tensor_split:
            # llama.cpp always reads llama_max_devices() proportions; those of absent devices are 0.
            parameters.tensor_split = (ctypes.c_float * self._llama_cpp.llama_max_devices())(*tensor_split)
        overrides = self._overrides(host_tensors)
        parameters.tensor_buft_overrides = ctypes.cast(overrides, ctypes.c_void_p)
        if no_alloc:
            parameters.no_alloc = True
            parameters.load_mode = self._llama_cpp.LLAMA_LOAD_MODE_NONE  # common/fit.cpp: nothing to map
        mark = library.log().mark()
        self.pointer: Any = self._llama_cpp.llama_model_load_from_file(str(path).encode(), parameters)
        lines = library.log().since(mark)
        if not self.pointer:
            raise EngineRefused("load", library.log().first_error_since(mark) or f"llama.cpp did not load {path.name}")
        self.buffers = read_buffers(lines, self.buffer_names)
        self.n_embd: int = self._llama_cpp.llama_model_n_embd_out(self.pointer)
        self.n_scores: int = self._llama_cpp.llama_model_n_cls_out(self.pointer)
        self.n_vocab: int = self._llama_cpp.llama_vocab_n_tokens(self._llama_cpp.llama_model_get_vocab(self.pointer))

    def _overrides(self, host_tensors: Sequence[str]) -> Any:
        """Return llama.cpp's list of overrides; an empty entry ends it."""
        host = ggml.buffer_type(ggml.cpu_device())
        entries = [_Override(pattern.encode(), host) for pattern in host_tensors]
        return (_Override * (len(entries) + 1))(*entries, _Override(None, None))

    def close(self) -> None:
        """Free the weights. Close every context over them first."""
        if self.pointer:
            self._llama_cpp.llama_model_free(self.pointer)
            self.pointer = None
