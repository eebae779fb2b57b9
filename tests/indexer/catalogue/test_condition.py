"""A condition is read as it was written, or refused with what to write instead."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from indexer.catalogue.condition import MAX_CHAIN, MAX_CHARACTERS, check_condition
from indexer.catalogue.condition_functions import FUNCTIONS
from indexer.catalogue.filters import Filters
from indexer.store.memory_table import MemoryTable
from ubm_embed.errors import InvalidData

ROWS = pa.table(
    {
        "category": ["shoe", "it's", None, "a;b -- c"],
        "price": [5.5, None, 10.0, 20.0],
        "in_stock": [True, False, None, True],
        "size eu": [42, 43, 44, None],
        "tags": [["new"], [], None, ["new", "sale"]],
    }
)
TABLE = MemoryTable(ROWS)

TEXTS = st.sampled_from(["shoe", "it''s", "a;b -- c", "/* x */", "(", ")", '"', "`", "Größe", "\x00", ""]).map(
    "'{}'".format
)
NUMBERS = st.sampled_from(["5", "5.50", ".5", "5.", "-3", "1e3", "2.5E-1"])
COMPARES = st.sampled_from(["=", "==", "<>", "!=", "<", "<=", ">", ">="])
PLAIN = st.one_of(
    st.builds(
        "{} {} {}".format, st.sampled_from(["category", "`category`", "CATEGORY", "lower(category)"]), COMPARES, TEXTS
    ),
    st.builds(
        "{} {} {}".format, st.sampled_from(["price", "price + 1", "abs(price - 3)", "(price)"]), COMPARES, NUMBERS
    ),
    st.builds("{}{}price".format, NUMBERS, COMPARES),
    st.builds("category {} ({}, {})".format, st.sampled_from(["IN", "NOT IN", "not in"]), TEXTS, TEXTS),
    st.builds("category {} {}".format, st.sampled_from(["LIKE", "ILIKE", "NOT LIKE"]), TEXTS),
    st.builds("price BETWEEN {} AND {}".format, NUMBERS, NUMBERS),
    st.builds(
        "{} IS {}".format, st.sampled_from(["price", "category"]), st.sampled_from(["NULL", "NOT NULL", "not null"])
    ),
    st.sampled_from(
        ["in_stock", "NOT in_stock", "in_stock IS TRUE", "`size eu` % 2 = 0", "array_has(tags, 'new')", "1=1", "true"]
    ),
)
CONDITIONS = st.recursive(
    PLAIN,
    lambda inner: st.one_of(
        st.builds("{} {} {}".format, inner, st.sampled_from(["AND", "OR", "and", "\n or"]), inner),
        st.builds("({})".format, inner),
        st.builds("NOT ({})".format, inner),
    ),
    max_leaves=6,
)


def problem(where: str) -> str:
    with pytest.raises(InvalidData) as caught:
        check_condition(where)
    assert caught.value.field == "where"
    assert len(caught.value.problem) < 300
    return caught.value.problem


@given(CONDITIONS)
def test_a_plain_condition_is_answered_as_lancedb_answers_it(where: str) -> None:
    mask = Filters(ROWS.num_rows, TABLE.positions_where).where(where).mask
    np.testing.assert_array_equal(np.flatnonzero(mask), TABLE.positions_where(where))


@given(
    CONDITIONS,
    st.sampled_from(["", " ", ";", ")", " price > 3", " LIMIT 1", " -- x", " /* x */", ", 1", " x", " AS x", '"', "'"]),
)
def test_nothing_after_a_condition_is_lost_without_a_word(where: str, rest: str) -> None:
    filters = Filters(ROWS.num_rows, TABLE.positions_where)
    if rest.strip():
        with pytest.raises(InvalidData):
            filters.where(where + rest)
    else:
        np.testing.assert_array_equal(filters.where(where + rest).mask, filters.where(where).mask)


@given(st.text(max_size=30))
def test_any_text_is_answered_or_refused(where: str) -> None:
    try:
        check_condition(where)
    except InvalidData as error:
        str(error).encode()


@pytest.mark.parametrize(
    ("where", "remedy"),
    [
        ("\"category\" = 'shoe'", "write `category` for the column, 'category' for the text"),
        ('category = "it\'s"', "'it''s' for the text"),
        ('price < 5 AND "price" > 3', "at character 15"),
    ],
)
def test_double_quotes_say_what_to_write(where: str, remedy: str) -> None:
    # lancedb/lancedb#2057: a double-quoted name is a text, and the condition never true.
    assert remedy in problem(where)


@pytest.mark.parametrize(
    ("where", "said"),
    [
        ("price < 5; DROP TABLE products", "nothing after a semicolon"),
        ("price < 5;", "nothing after a semicolon"),
        ("price < 5 -- AND in_stock", "a comment begins at character 11"),
        ("price /* net */ < 5", "a comment begins at character 7"),
        ("price < 5)", "')' at character 10 closes nothing"),
        ("(price < 5", "'(' at character 1 is not closed"),
        ("(price < [5)", "closes nothing"),
        ("category = 'shoe", "not closed"),
        ("category = 'it\\'s'", "a quote within a text is written twice"),
        ("`category = 3", "a name begins here that is not closed"),
        ("price < 5,50", "write 5.50 for 5,50"),
        ("price < 5 && in_stock", "write AND"),
        ("!in_stock", "write NOT"),
        ("category = ‘shoe’", "straight single quotes"),
        ("price < $1", "no meaning"),
        ("category = N'shoe'", "no letter before its quote"),
        ("category = NULL", "write IS NULL"),
        ("NULL <> category", "write IS NULL"),
        ("category NOT IN ('shoe', NULL)", "never true: leave it out"),
        ("'category' = 'shoe'", "write `category` for the column"),
        ("price < 5 OR 'category' NOT LIKE 's%'", "write `category` for the column"),
        ("'category' in ('shoe')", "write `category` for the column"),
        ("'category' IS NULL", "write `category` for the column"),
        ("length(repeat(title, 1000000000)) > 5", "no function 'repeat' for conditions at character 8"),
        ("LPAD (title, 2000000000) = 'a'", "no function 'LPAD'"),
        ("array_length(range(1000000000)) > price", "no function 'range' for conditions at character 14"),
        ("length(replace(replace(title, 'a', 'aaaa'), 'a', 'aaaa')) > 5", "no function 'replace'"),
        ("`sleep`(10) = 1", "no function '`sleep`'"),
        ("lenght(title) > 5", "did you mean length?"),
        ("CAST(price AS DECIMAL(39, 1)) > 1", "DECIMAL at character 15: expected 1 to 38 digits"),
        ("CAST(price AS decimal(10, -2)) > 1", "expected 1 to 38 digits"),
        ("CAST(price AS decimal(" + "9" * 5_000 + ")) > 1", "expected 1 to 38 digits"),
        ("array_length([title, title]) > 1", "title at character 15 stands in a list"),
    ],
)
def test_what_would_be_read_otherwise_is_refused(where: str, said: str) -> None:
    assert said in problem(where)


@pytest.mark.parametrize(
    "where",
    [
        "array_has_any(tags, ['new', NULL])",
        "price > CAST('5' AS DECIMAL(10, 2)) AND (price < 9)",
        "'shoe' = category",
        "'2026-01-01' < added",
        "range > 5",
        "concat('a', category) = 'ashoe'",
    ],
)
def test_what_is_plain_is_not_refused(where: str) -> None:
    check_condition(where)


def test_the_docs_list_the_functions() -> None:
    docs = (Path(__file__).parents[3] / "docs" / "store.md").read_text(encoding="utf-8")
    table = docs[docs.index("| of | functions |") : docs.index("The first condition over a column")]
    assert set(re.findall(r"`(\w+)`", table)) == FUNCTIONS


@pytest.mark.parametrize("name", sorted(FUNCTIONS))
def test_lancedb_has_each_of_them(name: str) -> None:
    said = ""
    try:
        TABLE.positions_where(f"{name}(price, category) IS NULL")
    except (ValueError, OSError, RuntimeError) as error:  # it takes other arguments
        said = str(error)
    assert not re.search("Invalid function|not supported SQL", said)


VALUES = st.one_of(
    st.sampled_from(
        ["category", "price", "in_stock", "tags", "NULL", "date '2026-01-01'", "interval '1 month'", "['a']"]
    ),
    st.sampled_from(["''", "'%'", "'('", "'day'", "0", "-1", "1e308", "9223372036854775807", "99999999999999999999"]),
)
EXPRESSIONS = st.recursive(
    VALUES,
    lambda inner: st.one_of(
        st.builds("{}({})".format, st.sampled_from(sorted(FUNCTIONS)), st.lists(inner, max_size=3).map(", ".join)),
        st.builds("({} {} {})".format, inner, st.sampled_from(["+", "*", "/", "%", "||", "<", "LIKE"]), inner),
        st.builds(
            "CAST({} AS {})".format, inner, st.sampled_from(["int", "double", "varchar", "date", "DECIMAL(38,9)"])
        ),
    ),
    max_leaves=4,
)


@given(EXPRESSIONS, COMPARES, EXPRESSIONS)
def test_no_expression_ends_a_thread_of_lancedb(left: str, compares: str, right: str) -> None:
    said = ""
    try:
        Filters(ROWS.num_rows, TABLE.positions_where).where(f"{left} {compares} {right}")
    except InvalidData as error:
        said = error.problem
    assert "aborted" not in said


def test_a_long_condition_is_refused_by_its_length() -> None:
    assert f"at most {MAX_CHARACTERS:,}" in problem(" OR ".join(["in_stock"] * 100_000))


@pytest.mark.parametrize("deep", ["(" * 10_000 + "in_stock" + ")" * 10_000, "NOT " * 10_000 + "in_stock"])
def test_a_deep_condition_is_refused_by_its_depth(deep: str) -> None:
    assert f"more than {MAX_CHAIN}" in problem(deep)


def test_the_longest_and_deepest_conditions_do_not_end_the_process() -> None:
    # In a process of its own: an overflow of the stack ends it.
    script = f"""
import pyarrow as pa
from indexer.catalogue.filters import Filters
from indexer.store.memory_table import MemoryTable
filters = Filters(2, MemoryTable(pa.table({{"a": [1, 2], "b": [True, None]}})).positions_where)
half = {MAX_CHAIN} // 2
for where in ("b" + " OR b" * ({MAX_CHARACTERS} // 5 - 1), "b" + " AND b OR b" * ({MAX_CHARACTERS} // 11 - 1),
              "b" + " IS NULL" * (half - 1), "a" + "+1" * (half - 2) + " > 3", "'x'" + "||'x'" * (half - 2) + "='x'",
              "(" * 40 + "a" + ("+1" + ")") * 40 + " = 1", "a IN (1" + ",1" * ({MAX_CHARACTERS} // 2 - 10) + ")"):
    print(filters.where(where).mask.tolist())
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert len(done.stdout.splitlines()) == 7
