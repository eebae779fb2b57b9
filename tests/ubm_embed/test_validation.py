from __future__ import annotations

import enum
from collections.abc import Mapping
from typing import Annotated, Literal, Self

import pydantic
import pytest
from pydantic import Field, field_validator, model_validator

from ubm_embed.errors import InvalidData
from ubm_embed.validation import FrozenModel, value_error


class Kind(enum.StrEnum):
    FLAT = "flat"
    HNSW = "hnsw"


class Inner(FrozenModel):
    size: Annotated[int, Field(ge=1)] = 1


class Values(FrozenModel):
    number: Annotated[int, Field(ge=1)]
    rate: Annotated[float, Field(ge=0, lt=1)] = 0.5
    name: str | None = None
    kind: Kind = Kind.FLAT
    metric: Literal["inner_product"] = "inner_product"
    history: tuple[Annotated[int, Field(ge=1)], ...] = ()
    files: Mapping[str, Inner] = Field(default_factory=dict)
    even: int = 0

    @field_validator("even")
    @classmethod
    def _even(cls, value: int) -> int:
        if value % 2:
            raise ValueError(f"must be even, got {value}")
        return value

    @model_validator(mode="after")
    def _agree(self) -> Self:
        if self.number == 13:
            raise ValueError("13 of 12 products are indexed")
        return self


FAULTS = [
    ('{"number": 0}', "number", "must be at least 1, got 0"),
    ('{"number": true}', "number", "must be an integer, got True"),
    ('{"number": 1.0}', "number", "must be an integer, got 1.0"),
    ('{"number": "1"}', "number", "must be an integer, got '1'"),
    ('{"number": null}', "number", "must be an integer, got None"),
    ('{"number": 1, "rate": 1}', "rate", "must be below 1, got 1"),
    ('{"number": 1, "rate": NaN}', "rate", "must be a finite number, got nan"),
    ('{"number": 1, "rate": false}', "rate", "must be a number, got False"),
    ('{"number": 1, "name": 3}', "name", "must be a string, got 3"),
    ('{"number": 1, "kind": "ivf"}', "kind", "must be 'flat' or 'hnsw', got 'ivf'"),
    ('{"number": 1, "metric": "l2"}', "metric", "must be 'inner_product', got 'l2'"),
    ('{"number": 1, "history": [2, 0]}', "history[1]", "must be at least 1, got 0"),
    ('{"number": 1, "history": 2}', "history", "must be a list, got 2"),
    ('{"number": 1, "files": {"ids": {"size": 0}}}', "files.ids.size", "must be at least 1, got 0"),
    ('{"number": 1, "files": []}', "files", "must be an object, got []"),
    ('{"number": 1, "even": 3}', "even", "must be even, got 3"),
    ('{"number": 13}', None, "13 of 12 products are indexed"),
    ("{}", "number", "missing"),
    ('{"number": 1, "colour": "red"}', "colour", "unknown: written by newer software; upgrade ubm-embed"),
    ("[]", None, "must be an object, got []"),
]


@pytest.mark.parametrize(("document", "field", "problem"), FAULTS)
def test_a_fault_in_a_file_names_the_file_and_the_field(document: str, field: str | None, problem: str) -> None:
    with pytest.raises(InvalidData) as caught:
        Values.from_json(document.encode(), file="store/live.json")
    error = caught.value
    assert (error.file, error.field, error.problem) == ("store/live.json", field, problem)


@pytest.mark.parametrize("data", [b'{"number": ', b"", b"\xff"])
def test_what_is_not_json_is_invalid_data(data: bytes) -> None:
    with pytest.raises(InvalidData, match=r"^store/live\.json: not JSON: "):
        Values.from_json(data, file="store/live.json")


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"number": 0}, "number must be at least 1, got 0"),
        ({"number": True}, "number must be an integer, got True"),
        ({"number": 1, "rate": float("nan")}, "rate must be a finite number, got nan"),
        ({"number": 1, "even": 3}, "even must be even, got 3"),
        ({"number": 13}, "13 of 12 products are indexed"),
        ({}, "number is missing"),
        ({"number": 1, "colour": "red"}, "colour is unknown"),
    ],
)
def test_a_fault_in_code_is_a_value_error_of_one_line(values: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=r" ") as caught:
        Values(**values)  # type: ignore[arg-type]
    assert str(caught.value) == message
    assert not isinstance(caught.value, pydantic.ValidationError)


def test_a_fault_deep_inside_is_named_in_full() -> None:
    with pytest.raises(pydantic.ValidationError) as caught:
        Values.model_validate({"number": 1, "files": {"ids": {"size": 0}}})
    assert str(value_error(caught.value)) == "files.ids.size must be at least 1, got 0"


def test_a_long_value_is_cut_short() -> None:
    with pytest.raises(InvalidData) as caught:
        Values.from_json(b'{"number": "%s"}' % (b"9" * 10_000), file="f")
    assert len(str(caught.value)) < 200


def test_whole_numbers_are_numbers_and_lists_become_tuples() -> None:
    values = Values.from_json(b'{"number": 1, "rate": 0, "history": [2, 1], "kind": "hnsw"}', file="f")
    assert (values.rate, values.history, values.kind) == (0.0, (2, 1), Kind.HNSW)


def test_a_copy_with_other_values_is_checked_too() -> None:
    values = Values(number=1, files={"ids": Inner(size=2)})
    assert values.replace(number=2) == Values(number=2, files={"ids": Inner(size=2)})
    with pytest.raises(ValueError, match=r"^number must be at least 1, got 0$"):
        values.replace(number=0)


def test_nothing_changes_after() -> None:
    with pytest.raises(pydantic.ValidationError):
        Values(number=1).number = 2
