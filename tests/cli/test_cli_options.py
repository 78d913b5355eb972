import pytest
from hypothesis import given
from hypothesis import strategies as st

from lutmac.cli.options import parse_counts, parse_logit_bias
from lutmac.cli.output import format_bytes
from lutmac.errors import InvalidRequestError


@given(st.integers(0, 1 << 31), st.floats(-100, 100))
def test_a_logit_bias_is_a_token_and_a_number(token, bias):
    assert parse_logit_bias(f"{token}={bias}") == (token, bias)


@pytest.mark.parametrize("text", ["", "5", "=1", "5=", "a=1", "5=b"])
def test_other_logit_biases_are_refused(text):
    with pytest.raises(InvalidRequestError, match="ID=BIAS"):
        parse_logit_bias(text)


@given(st.lists(st.integers(1, 512), min_size=1))
def test_threads_are_a_list_of_numbers(threads):
    assert parse_counts(",".join(map(str, threads)), "--threads") == threads


@pytest.mark.parametrize("text", ["", "0", "-1", "1,", "1,x", "1.5"])
def test_other_threads_are_refused(text):
    with pytest.raises(InvalidRequestError, match="as in 1,2"):
        parse_counts(text, "--threads")


@pytest.mark.parametrize(
    ("count", "text"), [(0, "0 B"), (999, "999 B"), (97_800_000, "97.8 MB"), (4_210_000_000, "4.21 GB")]
)
def test_sizes(count, text):
    assert format_bytes(count) == text
