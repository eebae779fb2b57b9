"""Sessions are read as they are; the error for an invalid one names the field."""

import json

import pytest

from ubm_embed.data.session import (
    ACTIONS,
    MAX_INTERACTIONS,
    Action,
    Interaction,
    Product,
    Session,
    parse_product,
    parse_session,
)
from ubm_embed.errors import InvalidData

VIEW = {"action": "view", "product_id": "p1"}


def error_of(entry):
    with pytest.raises(InvalidData) as caught:
        parse_session(entry, file="s.json", row=2)
    return caught.value


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
        ({"action": "view"}, "", "action 'view' needs product_id or product, got nothing"),
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
    error = error_of({"interactions": [VIEW, interaction]})
    assert (error.file, error.row, error.field, error.exit_code) == ("s.json", 2, f"interactions[1]{field}", 3)
    with pytest.raises(InvalidData, match=problem):
        raise error


@pytest.mark.parametrize(
    ("entry", "field", "problem"),
    [
        ("[7]", None, "expected a session object, got a list"),
        ("7", None, "expected a session object, got a number"),
        ("{}", "interactions", "expected a list of interactions, got nothing"),
        ('{"interactions": {}}', "interactions", "expected a list of interactions, got an object"),
        ('{"interactions": [], "session_id": true}', "session_id", "expected a string, got true or false"),
        ('{"interactions": [], "session_id": []}', "session_id", "expected a string, got a list"),
    ],
)
def test_an_invalid_session_is_named_by_its_field(entry, field, problem):
    error = error_of(json.loads(entry))
    assert (error.row, error.field, error.problem) == (2, field, problem)


def test_only_the_last_interactions_of_a_session_are_parsed():
    views = [{"action": "view", "product_id": number} for number in range(200_000)]
    session = parse_session({"interactions": ["not even an interaction", *views]})
    assert [one.product_id for one in session.interactions] == [
        str(number) for number in range(200_000 - MAX_INTERACTIONS, 200_000)
    ]


def test_the_field_of_an_interaction_counts_from_the_first_of_the_session():
    error = error_of({"interactions": [VIEW] * 2_000 + [VIEW | {"action": "fly"}]})
    assert error.field == "interactions[2000].action"


def test_a_message_stays_short_whatever_the_client_sends():
    assert len(str(error_of({"interactions": [{"action": "x" * 10_000}]}))) < 200
    assert len(str(error_of({"interactions": [{"action": ["x" * 99] * 99}]}))) < 400


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
