import pytest

from layertune.tensor_overrides import parse_tensor_overrides, patterns


def test_overrides_may_be_joined_by_commas_as_for_llama_server_or_written_apart() -> None:
    apart = parse_tensor_overrides(["ffn_up=CPU", "ffn_down=CPU", "ffn_up=CPU"])
    assert parse_tensor_overrides("ffn_up=CPU,ffn_down=CPU") == apart == ("ffn_down=CPU", "ffn_up=CPU")
    assert patterns(apart) == ["ffn_down", "ffn_up"]
    assert parse_tensor_overrides("") == parse_tensor_overrides([]) == ()


def test_patterns_lose_their_backslashes_which_an_env_file_cannot_contain() -> None:
    assert parse_tensor_overrides(r"blk\.\d\.ffn_(up|down)=CPU") == ("blk[.][0-9][.]ffn_(up|down)=CPU",)


@pytest.mark.parametrize(
    "wrong", ["ffn_up", "ffn_up=CUDA0", "(=CPU", "a b=CPU", r"\w=CPU", "a$=CPU", "=CPU", ["a=CPU", "b"]]
)
def test_what_is_no_pattern_or_names_another_device_is_refused(wrong: str | list[str]) -> None:
    with pytest.raises(ValueError, match="is no override of tensors"):
        parse_tensor_overrides(wrong)
