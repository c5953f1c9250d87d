"""The clock around a workload: llama-bench's recipe (tools/llama-bench/llama-bench.cpp, test_prompt and test_gen).

Prompt processing (pp) and token generation (tg) are clocked apart, each until the device has finished; the KV cache is
cleared and the tokens are fresh before every repetition.
"""

from dataclasses import dataclass
from threading import Event
from time import perf_counter_ns

import numpy as np

from layertune.engine.context import Context, Tokens

_NS_PER_S = 1e9


@dataclass(frozen=True, slots=True)
class Request:
    """The tokens of one repetition: a prompt, and what is "generated" after it."""

    prompt: Tokens
    answer: Tokens

    @classmethod
    def random(cls, n_prompt: int, n_generate: int, n_vocab: int, generator: np.random.Generator) -> "Request":
        """Uniformly random tokens, as llama-bench feeds: the work does not depend on which tokens they are."""
        tokens = generator.integers(0, n_vocab, size=n_prompt + n_generate, dtype=np.int32)
        return cls(tokens[:n_prompt], tokens[n_prompt:])


@dataclass(frozen=True, slots=True)
class Timing:
    """One repetition. `first_token_ns` runs from the call to the first token chosen, the others as their names say."""

    n_prompt: int
    n_generate: int
    prompt_ns: int
    first_token_ns: int
    generate_ns: int

    @property
    def pp_tokens_per_s(self) -> float:
        return self.n_prompt * _NS_PER_S / self.prompt_ns

    @property
    def tg_tokens_per_s(self) -> float:
        return self.n_generate * _NS_PER_S / self.generate_ns

    @property
    def ttft_s(self) -> float:
        return self.first_token_ns / _NS_PER_S

    @property
    def tpot_s(self) -> float:
        """Time per output token: from the first token on, of which n_generate more follow."""
        return self.generate_ns / _NS_PER_S / self.n_generate

    @property
    def tokens_per_s(self) -> float:
        """n_generate / (n_prompt / pp + n_generate / tg): the output rate a user of this workload sees."""
        return self.n_generate * _NS_PER_S / (self.prompt_ns + self.generate_ns)


def run(context: Context, request: Request) -> Timing:
    """Clear the context, process the prompt, generate the answer; tg is at the depth of the prompt.

    Raises EngineRefused where llama.cpp stops decoding.
    """
    context.clear()
    start_ns = perf_counter_ns()
    context.prefill(request.prompt)
    prompt_ns = perf_counter_ns() - start_ns
    context.logits().argmax()
    first_token_ns = perf_counter_ns() - start_ns
    generate_start_ns = perf_counter_ns()
    for token in request.answer:
        context.step(int(token))
    generate_ns = perf_counter_ns() - generate_start_ns
    return Timing(len(request.prompt), len(request.answer), prompt_ns, first_token_ns, generate_ns)


def prefill_until(context: Context, prompt: Tokens, over: Event) -> None:
    """Process a prompt in an empty context, unmeasured; stop at the next batch once `over` is set."""
    context.clear()
    context.prefill(prompt, cut=over.is_set)
