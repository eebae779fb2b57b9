import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ubm_embed.data.prices import MAX_PRICE, is_plain_price, parse_prices


def parse(text: str) -> float | None:
    return pl.select(parse_prices(pl.lit(text))).item()


@pytest.mark.parametrize(
    ("text", "price"),
    [
        ("12", 12),
        ("12.5", 12.5),
        (" 12.50 ", 12.5),
        (".99", 0.99),
        (",99", 0.99),
        ("1e3", 1000),
        ("$1,299.00", 1299),
        ("US$ 1,299.00", 1299),
        ("USD1299", 1299),
        ("EUR 12", 12),
        ("12 euro", 12),
        ("19,90", 19.9),
        ("19,9", 19.9),
        ("19,90 €", 19.9),
        ("1.299,00", 1299),
        ("1.299,00 zł", 1299),
        ("1.299.000", 1299000),
        ("1,299,000", 1299000),
        ("1,29,900.50", 129900.5),
        ("1 299,00 kr", 1299),
        ("1 299,00 kr.", 1299),
        ("1\u202f299,00\u00a0€", 1299),
        ("1'299.00", 1299),
        ("CHF 1’299.-", 1299),
        ("12.-", 12),
        ("12,– €", 12),
        ("Rs. 1,299", 1299),
        ("₹1,299", 1299),
        # One separator before three digits.
        ("1,299", 1299),
        ("0,299", 0.299),
        ("1.299", 1.299),
        ("1.299 €", 1299),
        ("€1.299", 1299),
    ],
)
def test_prices_are_read_as_shops_write_them(text: str, price: float) -> None:
    assert parse(text) == price


@pytest.mark.parametrize(
    "text",
    [
        "",
        "call us",
        "-5",
        "($5)",
        "10 - 20",
        "10-20",
        "$10 $20",
        "12 34",
        "1.2.3",
        "1,2,3",
        "1.29,900",
        "nan",
        "inf",
        "$",
        ".",
        ",",
        "12 apples",
        "1e400",
        "1704110400000000",
        "0x10",
        "1_000",
        "１２",
    ],
)
def test_what_is_no_price_is_null(text: str) -> None:
    assert parse(text) is None


@given(
    whole=st.integers(0, 10**9),
    cents=st.integers(0, 99),
    marks=st.sampled_from([",.", ".,", " .", " ,", "'.", "\u202f,", "’,"]),
    around=st.sampled_from(["{}", "${}", "{} €", "EUR {}", "{}\u00a0kr"]),
)
def test_a_written_price_reads_back(whole: int, cents: int, marks: str, around: str) -> None:
    written = around.format(f"{whole:,}".replace(",", marks[0]) + f"{marks[1]}{cents:02}")
    assert parse(written) == float(f"{whole}.{cents:02}")


@given(st.floats(0, MAX_PRICE))
def test_numbers_of_programs_are_themselves(number: float) -> None:
    assert parse(repr(number)) == number
    assert pl.select(is_plain_price(pl.lit(repr(number)))).item()


@given(st.text(alphabet="0123456789.,' -$€kr\n\u202fe+", max_size=12) | st.text(max_size=8))
def test_any_text_is_a_price_or_null_and_plain_ones_are_what_a_cast_reads(text: str) -> None:
    price = parse(text)
    assert price is None or 0 <= price <= MAX_PRICE
    if pl.select(is_plain_price(pl.lit(text))).item() and float(text) <= MAX_PRICE:
        assert price == float(text)


def test_null_stays_null() -> None:
    assert pl.select(parse_prices(pl.lit(None, pl.String))).item() is None
