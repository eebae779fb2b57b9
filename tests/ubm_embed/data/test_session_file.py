"""Valid session files are read as they are, streams as they come; the error of an invalid line names the line."""

import dataclasses
import itertools
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ubm_embed.data import session_file
from ubm_embed.data.session import ACTIONS, Action, Interaction, Product, Session, parse_product
from ubm_embed.data.session_file import MAX_BATCH, SessionFile, SessionLayout
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
EMPTY = Session(())


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
    return [one for batch in SessionFile([text], name="s.json").batches() for one in batch]


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


@given(st.lists(SESSIONS, min_size=1, max_size=3), st.sampled_from([None, 2]))
def test_a_list_comes_back_with_the_line_each_session_starts_on(sessions, indent):
    text = json.dumps([document(session) for session in sessions], indent=indent)
    result = read(text)
    assert [session for _, session in result] == sessions
    for line, _ in result:
        assert text.split("\n")[line - 1].lstrip(" [").startswith("{")
    assert len({line for line, _ in result}) == (len(sessions) if indent else 1)


def test_a_byte_order_mark_is_skipped():
    assert read('\ufeff{"interactions": []}') == [(1, Session(()))]
    assert read('\ufeff{"interactions": []}\n\ufeff{"interactions": []}') == [(1, Session(())), (2, Session(()))]


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


def test_an_invalid_session_of_a_list_is_named_by_its_line():
    error = error_of('[{"interactions": []},\n\n  {"interactions": 1}]')
    assert (error.row, error.field) == (3, "interactions")


@pytest.mark.parametrize(
    ("text", "row", "problem"),
    [
        ("", None, "empty"),
        (" \n", None, "empty"),
        (" [ ]\n", None, "no session; expected at least one in the list"),
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


class TestStreams:
    """JSON Lines are read as they come, and no further."""

    LINE = '{"interactions": []}\n'

    def stream(self, *chunks):
        """The batches of a stream, and how much of it each time had been read."""
        taken = 0

        def counted():
            nonlocal taken
            for chunk in chunks:
                taken += 1
                yield chunk

        file = SessionFile(counted(), name="stdin")
        return [([line for line, _ in batch], taken) for batch in file.batches()]

    def test_a_batch_is_what_has_come(self):
        assert self.stream(self.LINE, self.LINE * 2, self.LINE) == [([1], 1), ([2, 3], 2), ([4], 3)]

    def test_a_line_may_come_in_parts_and_the_last_without_its_end(self):
        first, second = self.LINE[:7], self.LINE[7:]
        assert self.stream(first, second + first, second, "\n\n", self.LINE.strip()) == [([1], 2), ([2], 3), ([5], 5)]

    def test_a_first_line_in_many_parts_is_looked_through_once(self):
        class Part(str):
            looked_through = 0

            def lstrip(self, characters=None):
                Part.looked_through += len(self)
                return super().lstrip(characters)

        parts = [Part(" ")] * 1000 + [Part(character) for character in self.LINE]
        assert self.stream(*parts) == [([1], len(parts))]
        assert Part.looked_through <= len(parts)

    def test_a_batch_has_a_limit(self):
        assert [len(lines) for lines, _ in self.stream(self.LINE * (MAX_BATCH + 1))] == [MAX_BATCH, 1]

    def test_sessions_before_an_invalid_line_come_before_its_error(self):
        batches = SessionFile([self.LINE * 2 + "{}\n" + self.LINE], name="stdin").batches()
        assert next(batches) == [(1, EMPTY), (2, EMPTY)]
        with pytest.raises(InvalidData) as caught:
            next(batches)
        assert (caught.value.row, caught.value.field) == (3, "interactions")

    def test_an_invalid_first_line_comes_with_no_empty_batch(self):
        batches = SessionFile(["{}\n" + self.LINE], name="stdin").batches()
        with pytest.raises(InvalidData):
            next(batches)

    @pytest.mark.parametrize("first", ['{"interactions": [}', '{"interactions": []} {}', "nonsense", '{"a": "x'])
    def test_a_first_line_that_begins_nothing_is_an_error_at_once(self, first):
        with pytest.raises(InvalidData, match="not JSON") as caught:
            SessionFile(itertools.chain(["\n", f"{first}\n"], endless(self.LINE)), name="stdin")
        assert caught.value.row == 2

    @pytest.mark.parametrize("before", ["", LINE], ids=["first", "later"])
    def test_a_line_without_end_is_an_error_not_memory(self, before, monkeypatch):
        monkeypatch.setattr(session_file, "MAX_LINE", 1 << 20)
        chunks = Counted(itertools.chain([before + '{"x": "'], endless("x" * 1000)))
        with pytest.raises(InvalidData, match="a line of more than 1 MB") as caught:
            list(SessionFile(chunks, name="stdin").batches())
        assert caught.value.row == (2 if before else 1)
        assert chunks.count < 1100

    def test_a_document_without_end_is_an_error_not_memory(self, monkeypatch):
        monkeypatch.setattr(session_file, "MAX_DOCUMENT", 1 << 20)
        chunks = Counted(itertools.chain("[", endless(self.LINE * 50)))
        with pytest.raises(InvalidData, match="larger than 1 MB; give one session a line, as JSON Lines"):
            SessionFile(chunks, name="stdin")
        assert chunks.count < 1100

    def test_endless_blank_lines_before_the_first_are_an_error(self, monkeypatch):
        monkeypatch.setattr(session_file, "MAX_LINE", 1 << 12)
        with pytest.raises(InvalidData, match="expected one session a line"):
            SessionFile(endless("\n" * 100), name="stdin")

    def test_lines_are_told_from_documents(self):
        layouts = {
            "{}": SessionLayout.SESSION,
            "{\n}": SessionLayout.SESSION,
            "{\n}\n": SessionLayout.SESSION,
            '\n{"a": [1,\n2]}': SessionLayout.SESSION,
            '{"a":\n1}': SessionLayout.SESSION,
            '{"a"\n:1}': SessionLayout.SESSION,
            "[{}]": SessionLayout.LIST,
            " \n[{}]\n": SessionLayout.LIST,
            "{}\n": SessionLayout.LINES,
            "\n{}\r\n{": SessionLayout.LINES,
        }
        for text, layout in layouts.items():
            assert SessionFile([text], name="s.json").layout is layout
            assert SessionFile(text, name="s.json").layout is layout  # a character at a time


def endless(chunk):
    return itertools.repeat(chunk)


class Counted:
    """An iterator that counts what was taken of it."""

    def __init__(self, items):
        self.items, self.count = iter(items), 0

    def __iter__(self):
        return self

    def __next__(self):
        self.count += 1
        return next(self.items)
