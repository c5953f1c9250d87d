from itertools import islice

from hypothesis import given
from hypothesis import strategies as st

from layertune.verify.prompts import TEXT, prompts


@given(st.integers(2, 300), st.integers(2, 700))
def test_prompts_have_the_workloads_size_and_no_two_are_alike(n_tokens: int, n_prompt: int) -> None:
    first = list(islice(prompts(range(n_tokens), n_prompt), 2 * n_tokens - 1))
    assert {len(prompt) for prompt in first} == {n_prompt}
    assert len({tuple(prompt) for prompt in first}) == len(first)


def test_each_of_as_many_prompts_as_tokens_begins_with_another_token() -> None:
    tokens = range(1000)
    assert {prompt[0] for prompt in islice(prompts(tokens, 64), 1000)} == set(tokens)


def test_the_text_is_korean_and_english_and_code() -> None:
    assert "안녕하세요" in TEXT
    assert "Could you explain" in TEXT
    assert "def busiest_hours" in TEXT
