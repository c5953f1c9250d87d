"""Times a workload the way llama-bench does (tools/llama-bench/llama-bench.cpp, test_prompt and test_gen), and samples.

Prompt processing (pp) and token generation (tg) are timed separately, each until the device has finished. Before every
repetition the KV cache is cleared and new tokens are drawn. A generated token takes as long as in llama-server: it is
decoded, and the server's default samplers run over the logits. llama-bench does not sample, so the time of decoding
alone is kept next to it. An embedding or reranking model generates no tokens: what is timed is its prompt.

`turn` does the same on top of what the cache holds already, as a server does with the prefix of a chat.
"""

from dataclasses import dataclass
from threading import Event
from time import perf_counter_ns

import numpy as np

from layertune.engine.context import Context, Tokens
from layertune.engine.sampling import Sampler

_NS_PER_S = 1e9


@dataclass(frozen=True, slots=True)
class Request:
    """The tokens of one repetition: a prompt, and the answer that is decoded after it as if it were generated."""

    prompt: Tokens
    answer: Tokens

    @classmethod
    def random(cls, n_prompt: int, n_generate: int, n_vocab: int, generator: np.random.Generator) -> "Request":
        """Draw uniformly random tokens, as llama-bench does: the work does not depend on which tokens they are."""
        tokens = generator.integers(0, n_vocab, size=n_prompt + n_generate, dtype=np.int32)
        return cls(tokens[:n_prompt], tokens[n_prompt:])


@dataclass(frozen=True, slots=True)
class Timing:
    """The times of one repetition.

    Attributes:
        n_prompt: Tokens in the prompt.
        n_generate: Tokens generated after it; 0 for an embedding model, which has no speed of them.
        prompt_ns: Time to process the prompt.
        first_token_ns: Time from the call until the first token is chosen, or the embedding is read.
        generate_ns: Time to generate the tokens: to decode them, and to sample after each.
        decode_ns: The part of it that llama.cpp decodes.
    """

    n_prompt: int
    n_generate: int
    prompt_ns: int
    first_token_ns: int
    generate_ns: int
    decode_ns: int

    @property
    def pp_tokens_per_s(self) -> float:
        """Prompt processing speed: n_prompt / prompt time."""
        return self.n_prompt * _NS_PER_S / self.prompt_ns

    @property
    def tg_tokens_per_s(self) -> float:
        """Token generation speed: n_generate / generation time."""
        return self.n_generate * _NS_PER_S / self.generate_ns

    @property
    def decode_tokens_per_s(self) -> float:
        """Token generation speed without sampling, llama-bench's tg: n_generate / decoding time."""
        return self.n_generate * _NS_PER_S / self.decode_ns

    @property
    def ttft_s(self) -> float:
        """Time to first token, from the call."""
        return self.first_token_ns / _NS_PER_S

    @property
    def tpot_s(self) -> float:
        """Time per output token after the first: generation time / n_generate."""
        return self.generate_ns / _NS_PER_S / self.n_generate

    @property
    def tokens_per_s(self) -> float:
        """Effective output rate of the workload: n_generate / (n_prompt / pp + n_generate / tg); without generated
        tokens, those of the prompt count."""
        return (self.n_generate if self.n_generate else self.n_prompt) * _NS_PER_S / (self.prompt_ns + self.generate_ns)

    @property
    def turn_s(self) -> float:
        """Time to process the prompt and generate the answer."""
        return (self.prompt_ns + self.generate_ns) / _NS_PER_S


def run(context: Context, sampler: Sampler | None, request: Request) -> Timing:
    """Clear the context, process the prompt and generate the answer; tg is at the depth of the prompt.

    Raises:
        EngineRefused: llama.cpp stops decoding.
    """
    context.clear()
    return turn(context, sampler, request)


def turn(context: Context, sampler: Sampler | None, request: Request) -> Timing:
    """Process a prompt after the tokens that the context holds, and generate the answer.

    What is sampled is not decoded: the answer's tokens are drawn before, so no answer ends early. Without a sampler the
    result is the prompt's embedding.

    Raises:
        EngineRefused: llama.cpp stops decoding, for example since the context is full.
    """
    start_ns = perf_counter_ns()
    context.prefill(request.prompt)
    prompt_ns = perf_counter_ns() - start_ns
    if sampler is None:
        context.pooled()
        return Timing(len(request.prompt), 0, prompt_ns, perf_counter_ns() - start_ns, 0, 0)
    sampler.sample(context)
    first_token_ns = perf_counter_ns() - start_ns
    decode_ns = 0
    generate_start_ns = perf_counter_ns()
    for token in request.answer:
        step_start_ns = perf_counter_ns()
        context.step(int(token))
        decode_ns += perf_counter_ns() - step_start_ns
        sampler.sample(context)
    generate_ns = perf_counter_ns() - generate_start_ns
    return Timing(len(request.prompt), len(request.answer), prompt_ns, first_token_ns, generate_ns, decode_ns)


def prefill_until(context: Context, prompt: Tokens, over: Event) -> None:
    """Process a prompt in an empty context without timing it. If `over` is set, stop after the current batch."""
    context.clear()
    context.prefill(prompt, cut=over.is_set)
