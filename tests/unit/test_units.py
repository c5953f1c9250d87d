import pytest
from hypothesis import given
from hypothesis import strategies as st

from layertune.units import GIB, MIB, format_bytes, format_duration, parse_bytes, parse_duration


@pytest.mark.parametrize(
    ("text", "size_bytes"),
    [
        ("6GiB", 6 * GIB),
        ("6144MiB", 6 * GIB),
        ("6GB", 6 * 10**9),
        ("6141 mib", 6141 * MIB),
        ("1.5GiB", 3 * GIB // 2),
        ("123", 123),
        (123, 123),
        ("0", 0),
    ],
)
def test_sizes_are_read_in_binary_and_decimal_units(text: str | int, size_bytes: int) -> None:
    assert parse_bytes(text) == size_bytes


@pytest.mark.parametrize("text", ["", "6 apples", "GiB", "-1GiB", "6,5GiB", "1e9", "nan", -1])
def test_what_is_no_size_is_refused_with_the_accepted_forms(text: str | int) -> None:
    with pytest.raises(ValueError, match="is"):
        parse_bytes(text)


@pytest.mark.parametrize(
    ("text", "duration_s"), [("30m", 1800), ("90s", 90), ("1.5h", 5400), ("2 min", 120), (5, 5), (0.5, 0.5)]
)
def test_durations_are_read(text: str | float, duration_s: float) -> None:
    assert parse_duration(text) == duration_s


@pytest.mark.parametrize("text", ["", "soon", "1d", "-5s", -1])
def test_what_is_no_duration_is_refused(text: str | float) -> None:
    with pytest.raises(ValueError, match="is"):
        parse_duration(text)


def test_sizes_and_durations_are_printed_for_people() -> None:
    printed = [format_bytes(size) for size in (0, 1023, 1536, 6141 * MIB, 24 * GIB, -MIB)]
    assert printed == ["0 B", "1023 B", "1.5 KiB", "6141.0 MiB", "24.00 GiB", "-1.0 MiB"]
    assert [format_duration(s) for s in (0.25, 59.9, 185, 3720)] == ["0.2 s", "59.9 s", "3m 05s", "1h 02m"]


@given(st.integers(min_value=0, max_value=2**50))
def test_a_printed_number_of_bytes_reads_back_as_itself(size_bytes: int) -> None:
    assert parse_bytes(str(size_bytes)) == size_bytes


@given(st.text(max_size=12))
def test_any_text_is_a_size_or_a_value_error_that_quotes_it(text: str) -> None:
    message = ""
    try:
        assert parse_bytes(text) >= 0
    except ValueError as error:
        message = str(error)
    assert message == "" or repr(text) in message


@pytest.mark.parametrize("text", ["0.4", "6.5", "0.4B", "0.0001KiB"])
def test_a_fraction_of_a_byte_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is a fraction of a byte; write a unit, like 6GiB"):
        parse_bytes(text)


def test_a_fraction_of_a_unit_is_rounded_to_bytes() -> None:
    assert (parse_bytes("0.1GiB"), parse_bytes("6.0"), parse_bytes("0.5KiB")) == (107374182, 6, 512)
