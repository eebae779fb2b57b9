"""Valid session files are read as they are; the error for an invalid one names the line and the field."""

import dataclasses
import io
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ubm_embed.data.session import (
    ACTIONS,
    Action,
    Interaction,
    Product,
    Session,
    parse_product,
    parse_session,
    read_sessions,
)
from ubm_embed.errors import InvalidData

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
FILLED = TEXT.filter(str.strip)
PRODUCTS = st.builds(
    Product,
    title=FILLED,
    category=st.none() | TEXT,
    attributes=st.lists(st.tuples(TEXT, TEXT), max_size=2).map(tuple),
    product_id=st.none() | TEXT,
)
INTERACTIONS = st.one_of(
    st.builds(Interaction, st.just(Action.SEARCH), query=TEXT),
    st.builds(Interaction, st.sampled_from(ACTIONS[1:]), product_id=TEXT),
    st.builds(Interaction, st.sampled_from(ACTIONS[1:]), product=PRODUCTS),
)
SESSIONS = st.builds(Session, st.lists(INTERACTIONS, max_size=4).map(tuple), st.none() | TEXT)
VIEW = {"action": "view", "product_id": "p1"}


def document(session):
    """A session as a client would write it."""
    entries = []
    for interaction in session.interactions:
        entry = {"action": str(interaction.action), "product_id": interaction.product_id, "query": interaction.query}
        if interaction.product is not None:
            entry["product"] = dataclasses.asdict(interaction.product) | {
                "attributes": [{"name": name, "value": value} for name, value in interaction.product.attributes]
            }
        entries.append({key: value for key, value in entry.items() if value is not None})
    return {"session_id": session.session_id, "interactions": entries}


def read(text):
    return list(read_sessions(io.StringIO(text), name="s.json"))


def error_of(text):
    with pytest.raises(InvalidData) as caught:
        read(text)
    return caught.value


@given(SESSIONS, st.booleans(), st.sampled_from([None, 2]))
def test_a_session_comes_back(session, ascii_only, indent):
    text = json.dumps(document(session), ensure_ascii=ascii_only, indent=indent)
    assert read(text) == [(1, session)]


@given(st.lists(SESSIONS, min_size=2, max_size=3), st.booleans())
def test_json_lines_come_back_with_their_lines(sessions, ascii_only):
    lines = [json.dumps(document(session), ensure_ascii=ascii_only) for session in sessions]
    assert read("\n\n".join(lines) + "\n") == [(1 + 2 * number, session) for number, session in enumerate(sessions)]


@pytest.mark.parametrize("separator", ["\u2028", "\u2029", "\x85", "\x0b", "\r"])
def test_only_a_line_feed_ends_a_line(separator):
    # Python's splitlines ends one at each of these, and JSON allows most of them inside a string.
    product = parse_product({"title": f"red{separator}shoes"})
    session = Session((Interaction(Action.VIEW, product=product),))
    lines = [json.dumps(document(session), ensure_ascii=separator < " ")] * 2
    assert read("\n".join(lines)) == [(1, session), (2, session)]


@given(st.lists(SESSIONS, max_size=3), st.sampled_from([None, 2]))
def test_a_list_comes_back_with_the_line_each_session_starts_on(sessions, indent):
    text = json.dumps([document(session) for session in sessions], indent=indent)
    result = read(text)
    assert [session for _, session in result] == sessions
    for line, _ in result:
        assert text.split("\n")[line - 1].lstrip(" [").startswith("{")
    assert len({line for line, _ in result}) == (len(sessions) if indent else min(len(sessions), 1))


def test_attributes_may_be_an_object_and_values_numbers():
    entry = {"title": "shoe", "attributes": {"size": 42, "width": 1.5, "colour": "red"}, "product_id": 7}
    pairs = (("size", "42"), ("width", "1.5"), ("colour", "red"))
    assert parse_product(entry) == Product("shoe", None, pairs, "7")


def test_ids_may_be_numbers():
    entry = {"session_id": 5, "interactions": [{"action": "buy", "product_id": 12}]}
    assert parse_session(entry) == Session((Interaction(Action.BUY, product_id="12"),), "5")


@pytest.mark.parametrize(("number", "text"), [(17, "17"), (17.0, "17"), (-3.0, "-3"), (2**53, str(2**53))])
def test_a_whole_number_is_an_id_however_json_writes_it(number, text):
    entry = {"interactions": [{"action": "buy", "product_id": number}]}
    assert parse_session(json.loads(json.dumps(entry))).interactions[0].product_id == text


def test_a_byte_order_mark_is_skipped():
    assert read('\ufeff{"interactions": []}') == [(1, Session(()))]
    assert read('\ufeff{"interactions": []}\n\ufeff{"interactions": []}') == [(1, Session(())), (2, Session(()))]


def test_a_null_character_is_text_like_any_other():
    product = parse_product({"title": "red\0shoe", "product_id": "p\0"})
    assert product == Product("red\0shoe", product_id="p\0")


def test_half_an_emoji_is_replaced_so_that_the_text_can_be_encoded():
    product = parse_product({"title": "shoe \ud83d", "attributes": {"co\ud83dlour": "r\ud83ded"}})
    assert product == Product("shoe ?", attributes=(("co?lour", "r?ed"),))


@pytest.mark.parametrize(
    ("interaction", "field", "problem"),
    [
        ([], "", "expected an interaction object, got a list"),
        ({}, ".action", "^.*expected one of search, view, add, buy, remove, got nothing$"),
        ({"action": "click"}, ".action", "unknown action 'click'"),
        ({"action": []}, ".action", r"unknown action \[\]"),
        ({"action": "view"}, "", "action 'view' needs product_id or product, got none of them"),
        ({"action": "view", "query": "q"}, "", "needs product_id or product"),
        ({"action": "search", "product_id": "p"}, "", "action 'search' needs query"),
        (VIEW | {"product": {"title": "t"}}, "", "needs product_id or product"),
        ({"action": "view", "product_id": True}, ".product_id", "expected a string, got true or false"),
        ({"action": "view", "product_id": 1.5}, ".product_id", "expected a string, got a number"),
        ({"action": "view", "product_id": 1e300}, ".product_id", "expected a string, got a number"),
        ({"action": "view", "product_id": "p" * 100_001}, ".product_id", "at most 100,000 characters, got 100,001"),
        ({"action": "search", "query": "q" * 100_001}, ".query", "at most 100,000 characters"),
        ({"action": "view", "product": {"title": "t" * 100_001}}, ".product.title", "at most 100,000 characters"),
        (
            {"action": "view", "product": {"attributes": {"size": "x" * 50_000, "colour": "y" * 50_000}}},
            ".product.attributes",
            "at most 100,000 characters",
        ),
        ({"action": "search", "query": ["q"]}, ".query", "expected a string, got a list"),
        ({"action": "search", "query": 5}, ".query", "expected a string, got a number"),
        ({"action": "view", "product": "p1"}, ".product", "expected a product object, got a string"),
        ({"action": "view", "product": {"title": " "}}, ".product", "without text"),
        ({"action": "view", "product": {"title": 5}}, ".product.title", "expected a string, got a number"),
        ({"action": "view", "product": {"category": {}}}, ".product.category", "expected a string, got an object"),
        ({"action": "view", "product": {"attributes": "red"}}, ".product.attributes", "expected {"),
        ({"action": "view", "product": {"attributes": [{"name": "a"}]}}, ".product.attributes", "expected {"),
        (
            {"action": "view", "product": {"attributes": {"a": None}}},
            ".product.attributes",
            "expected text as .*, got nothing",
        ),
        (
            {"action": "view", "product": {"attributes": {"a": [1]}}},
            ".product.attributes",
            "expected text as .*, got a list",
        ),
        ({"action": "search", "product_id": "p", "query": "q"}, "", "needs query, got product_id and query"),
    ],
)
def test_an_invalid_interaction_is_named_by_line_and_field(interaction, field, problem):
    error = error_of("\n".join(json.dumps({"interactions": [VIEW, entry]}) for entry in (VIEW, interaction)))
    assert (error.file, error.row, error.field, error.exit_code) == ("s.json", 2, f"interactions[1]{field}", 3)
    with pytest.raises(InvalidData, match=problem):
        raise error


@pytest.mark.parametrize(
    ("entry", "field", "problem"),
    [
        ("[7]", None, "expected a session object, got a number"),
        ("7", None, "expected a session object, got a number"),
        ("{}", "interactions", "expected a list of interactions, got nothing"),
        ('{"interactions": {}}', "interactions", "expected a list of interactions, got an object"),
        ('{"interactions": [], "session_id": true}', "session_id", "expected a string, got true or false"),
        ('{"interactions": [], "session_id": []}', "session_id", "expected a string, got a list"),
    ],
)
def test_an_invalid_session_is_named_by_its_field(entry, field, problem):
    error = error_of(entry)
    assert (error.row, error.field, error.problem) == (1, field, problem)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("[" * 100_000, "too many brackets within one another"),
        ('{"interactions":' * 100_000, "too many brackets within one another"),
        ("1" * 5_000, "a number of thousands of digits"),
    ],
    ids=["lists", "objects", "digits"],
)
def test_json_that_cannot_be_read_is_refused_in_words(text, problem):
    assert error_of(text).problem == f"not JSON that can be read: {problem}"


def test_a_session_has_a_limit_of_interactions():
    error = error_of(json.dumps({"interactions": [0] * 100_001}))
    assert (error.row, error.field) == (1, "interactions")
    assert error.problem == "expected at most 100,000 interactions, got 100,001"


def test_an_invalid_session_of_a_list_is_named_by_its_line():
    error = error_of('[{"interactions": []},\n\n  {"interactions": 1}]')
    assert (error.row, error.field) == (3, "interactions")


@pytest.mark.parametrize(
    ("text", "row", "problem"),
    [
        ("", None, "empty"),
        (" \n", None, "empty"),
        ('{"interactions": [}', 1, "not JSON: Expecting value at column 19"),
        ('{\n"interactions": [}', 2, "not JSON: Expecting value at column 18"),
        ('{"interactions": []}\n{"interactions": [}', 2, "not JSON: Expecting value at column 19"),
        ('{"interactions": []}\n\nnonsense', 3, "not JSON"),
        ('{"interactions', 1, "not JSON: Unterminated string starting at column 2"),
        ("nonsense\nnonsense", 1, "not JSON"),
        ("[" * 100_000, None, "not JSON that can be read"),
        ("1" * 5000, None, "not JSON that can be read"),
    ],
)
def test_malformed_json_is_named_by_its_line(text, row, problem):
    error = error_of(text)
    assert (error.file, error.row) == ("s.json", row)
    assert error.problem.startswith(problem)


def test_a_message_stays_short_whatever_the_client_sends():
    assert len(str(error_of(json.dumps({"interactions": [{"action": "x" * 10_000}]})))) < 200
    assert len(str(error_of(json.dumps({"interactions": [{"action": ["x" * 99] * 99}]})))) < 400


def test_action_codes_are_positions():
    assert {str(action): action.code for action in ACTIONS} == {"search": 0, "view": 1, "add": 2, "buy": 3, "remove": 4}


@pytest.mark.parametrize(
    ("product", "has_text"),
    [
        (Product("shoe"), True),
        (Product("", "shoes"), True),
        (Product("", None, (("colour", "red"),)), True),
        (Product(" ", "\t", (("colour", ""),)), False),
    ],
)
def test_whether_a_product_has_text(product, has_text):
    assert product.has_text is has_text


@pytest.mark.parametrize("attributes", [[["colour", "red"]], [("colour", "red")], (["colour", "red"],)])
def test_a_product_made_with_lists_is_the_same_product(attributes):
    product = Product("Shoe", attributes=attributes)
    assert {product: 1}[Product("Shoe", attributes=(("colour", "red"),))] == 1
    assert hash(Interaction(Action.VIEW, product=product))
