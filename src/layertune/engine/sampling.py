"""Chooses tokens as llama-server does with its default sampling parameters."""

from typing import Any, Final

from layertune.engine import library
from layertune.engine.context import Context

# The defaults of llama.cpp's common/common.h, struct common_params_sampling. The samplers that these defaults switch
# off (penalties, DRY, top-n-sigma, typical, XTC) return at once, so they are left out.
_TOP_K: Final = 40
_TOP_P: Final = 0.95
_MIN_P: Final = 0.05
_MIN_KEEP: Final = 0
_TEMPERATURE: Final = 0.8


class Sampler:
    """llama-server's default chain of samplers (llama.cpp, common/sampling.cpp, common_sampler_init)."""

    def __init__(self, seed: int) -> None:
        """Create the chain; `seed` is that of the random choice, modulo 2**32."""
        self._llama_cpp = llama_cpp = library.load()
        parameters = llama_cpp.llama_sampler_chain_default_params()
        parameters.no_perf = True
        self._pointer: Any = llama_cpp.llama_sampler_chain_init(parameters)
        for sampler in (
            llama_cpp.llama_sampler_init_top_k(_TOP_K),
            llama_cpp.llama_sampler_init_top_p(_TOP_P, _MIN_KEEP),
            llama_cpp.llama_sampler_init_min_p(_MIN_P, _MIN_KEEP),
            llama_cpp.llama_sampler_init_temp_ext(_TEMPERATURE, 0.0, 1.0),
            llama_cpp.llama_sampler_init_dist(seed % 2**32),
        ):
            llama_cpp.llama_sampler_chain_add(self._pointer, sampler)

    def sample(self, context: Context) -> int:
        """Return a token that follows the last one of a context."""
        return int(self._llama_cpp.llama_sampler_sample(self._pointer, context.pointer, -1))

    def close(self) -> None:
        """Free the chain; a second call does nothing."""
        if self._pointer:
            self._llama_cpp.llama_sampler_free(self._pointer)
            self._pointer = None
