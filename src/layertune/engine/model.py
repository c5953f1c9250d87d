"""A loaded model, with the parameters that llama-server loads it with."""

import ctypes
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from layertune.engine import ggml, library
from layertune.engine.buffers import read_buffers
from layertune.engine.refusal import EngineRefused


class Model:
    """Weights in memory: `n_gpu_layers` of them on `devices`, the rest on the host.

    `buffers` are llama.cpp's own figures by device; `buffer_names` tell the devices apart in its log.
    """

    def __init__(self, path: Path, n_gpu_layers: int, devices: Sequence[ggml.DeviceHandle]) -> None:
        """Raises EngineRefused where llama.cpp does not load the file."""
        self._llama_cpp = library.load()
        self.buffer_names = tuple(ggml.buffer_name(device) for device in devices)
        # The list ends with NULL; an empty one keeps every layer on the host (llama.cpp, llama_model_params.devices).
        device_list = (ctypes.c_void_p * (len(devices) + 1))(*devices, None)
        parameters = self._llama_cpp.llama_model_default_params()
        parameters.n_gpu_layers = n_gpu_layers
        parameters.devices = ctypes.cast(device_list, ctypes.c_void_p)
        mark = library.log().mark()
        self.pointer: Any = self._llama_cpp.llama_model_load_from_file(str(path).encode(), parameters)
        lines = library.log().since(mark)
        if not self.pointer:
            raise EngineRefused("load", library.log().first_error_since(mark) or f"llama.cpp did not load {path.name}")
        self.buffers = read_buffers(lines, self.buffer_names)
        self.n_vocab: int = self._llama_cpp.llama_vocab_n_tokens(self._llama_cpp.llama_model_get_vocab(self.pointer))

    def close(self) -> None:
        """Free the weights; every context over them must be closed before."""
        if self.pointer:
            self._llama_cpp.llama_model_free(self.pointer)
            self.pointer = None
