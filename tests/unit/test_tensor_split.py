import pytest
from hypothesis import given
from hypothesis import strategies as st

from layertune.tensor_split import format_tensor_split, parse_tensor_split, split_layers


@given(st.integers(1, 200), st.lists(st.integers(0, 200), min_size=2, max_size=5).filter(any))
def test_layers_go_to_the_first_device_whose_share_begins_after_them(n_layers: int, parts: list[int]) -> None:
    counts = split_layers(tuple(map(float, parts)), n_layers)
    assert sum(counts) == n_layers
    ends = [sum(parts[: device + 1]) for device in range(len(parts))]
    # Whole numbers this small are exact in 32 bits: layer i is where i / n is below the share's end.
    expected = [
        sum(
            end * n_layers > layer * ends[-1] and (not before or before * n_layers <= layer * ends[-1])
            for layer in range(n_layers)
        )
        for before, end in zip([0, *ends], ends, strict=False)
    ]
    assert list(counts) == expected


def test_the_output_layer_is_the_last_one_and_a_device_may_have_none() -> None:
    assert split_layers((3.0, 1.0), 8) == (6, 2)
    assert split_layers((0.0, 1.0), 8) == (0, 8)
    assert split_layers((1.0, 0.0), 8) == (8, 0)
    assert split_layers((3.0, 1.0), 1) == (1, 0)  # the output layer alone: 0 of 1 is before the first share's end


@pytest.mark.parametrize("written", ["3,1", "3/1", [3, 1], (3.0, 1.0), "3.0, 1"])
def test_proportions_are_read_as_llama_server_reads_them(written: str | list[float]) -> None:
    assert parse_tensor_split(written) == (3.0, 1.0)
    assert format_tensor_split(parse_tensor_split(written)) == "3,1"


@pytest.mark.parametrize("written", ["", "a,b", "0,0", "-1,2", "nan,1", "inf,1", "1,1e30", [], [None, 1]])
def test_an_invalid_tensor_split_is_refused_with_an_example(written: str | list[float]) -> None:
    with pytest.raises(ValueError, match="write one proportion for each device, like 3,1"):
        parse_tensor_split(written)
