import pickle

import pytest

from ubm_embed.errors import Conflict, InvalidData, NotFound, QualityGateFailed, UbmError


@pytest.mark.parametrize(
    ("where", "message"),
    [
        ({}, "expected a number"),
        ({"file": "a.json"}, "a.json: expected a number"),
        ({"file": "a.json", "row": 3, "field": "price"}, "a.json, row 3, field 'price': expected a number"),
        ({"field": "price"}, "field 'price': expected a number"),
    ],
)
def test_message_names_file_row_and_field_as_far_as_known(where, message):
    assert str(InvalidData("expected a number", **where)) == message


def test_exit_codes_are_those_of_the_command_line():
    assert [kind.exit_code for kind in (InvalidData, NotFound, Conflict, QualityGateFailed)] == [3, 4, 5, 6]
    assert all(issubclass(kind, UbmError) for kind in (InvalidData, NotFound, Conflict, QualityGateFailed))


def test_invalid_data_survives_the_way_back_from_a_worker_process():
    error = pickle.loads(pickle.dumps(InvalidData("expected a number", file="a.json", row=3)))
    assert (str(error), error.problem, error.row) == ("a.json, row 3: expected a number", "expected a number", 3)
