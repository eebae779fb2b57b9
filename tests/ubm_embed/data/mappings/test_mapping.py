"""The form of a mapping file: what it may hold, and errors that name the file and the field."""

from __future__ import annotations

from pathlib import Path

import pytest

from ubm_embed.data.mappings.mapping import Mapping
from ubm_embed.data.mappings.ready_made import mapping_names
from ubm_embed.errors import InvalidData, NotFound

LOG = '[log.columns]\naction = "a"\n'


def write(folder: Path, text: str) -> Path:
    (folder / "shop.toml").write_text(text)
    return folder / "shop.toml"


@pytest.mark.parametrize(
    ("text", "field", "problem"),
    [
        ("[log", None, "not TOML"),
        ("a = " + "[" * 10_000, None, "not TOML"),
        ("[logs.columns]\n", "logs", "unknown; did you mean 'log'?; expected description, log, catalogue"),
        ("[log]\n", "log[0].columns", "missing"),
        ("[log.columns]\nuser_id = 'u'\n", "log[0].columns.action", "missing"),
        (LOG + "colour = 'c'\n", "log[0].columns.colour", "unknown; expected action, product_id, query, session_id"),
        ("[log.columns]\naction = 3\n", "log[0].columns.action", "must be"),
        ("[log.columns]\naction = {}\n", "log[0].columns.action", "exactly one of path, first and value"),
        ("[log.columns]\naction = {path = 'a', value = 'b'}\n", "log[0].columns.action", "exactly one"),
        (
            "[log.columns]\naction = {path = 'a', typ = 'text'}\n",
            "log[0].columns.action.typ",
            "unknown; did you mean 'type'?",
        ),
        (LOG + "price = {path = 'p', type = 'money'}\n", "log[0].columns.price.type", "must be"),
        (LOG + "title = {path = 't', type = 'number'}\n", "log[0]", "columns.title.type must be text"),
        (LOG + "price = {path = 'p', invalid = 'skip'}\n", "log[0].columns.price.invalid", "must be 'error' or 'null'"),
        (LOG + "title = {path = 't', optional = 'perhaps'}\n", "log[0].columns.title.optional", "must be"),
        (LOG + "title = {path = 't', remove = '('}\n", "log[0].columns.title.remove", "not a regular expression"),
        ("[log.columns]\naction = {value = 'klick'}\n", "log[0]", "columns.action.value must be one of search, view"),
        (
            "[log.columns]\naction = {value = 'view'}\n[log.actions]\nlook = 'view'\n",
            "log[0]",
            "columns.action.value must be one of look, got 'view'",
        ),
        ("[[log]]\ncolumns = {action = 'a'}\n" * 2, None, "log[0] and log[1] have none"),
        ("[log]\nfiles = '*.csv'\n" + LOG, "log[0].files", "must be a list"),
        ("[log]\nsession_gap_minutes = 0\n" + LOG, "log[0].session_gap_minutes", "must be above 0"),
        ("[log]\nother_actions = 'keep'\n" + LOG, "log[0].other_actions", "must be 'error' or 'drop'"),
        (LOG + "[log.actions]\nwish = 'like'\n", "log[0].actions.wish", "must be"),
        ("[log]\ntime = {zone = 'Europe/Nowhere'}\n" + LOG, "log[0].time", "Europe/Nowhere"),
        ("[log]\ncsv = {separator = ''}\n" + LOG, "log[0].csv.separator", "must"),
        ("[log]\ndrop = [{path = 'x'}]\n" + LOG, "log[0].drop[0]", "exactly one of is_in and matches"),
        ("[log]\ndrop = [{path = 'x', matches = '['}]\n" + LOG, "log[0].drop[0].matches", "not a regular expression"),
        (
            "[log]\ndrop = [{path = 'x', matches = '(a{1000}){1000}{1000}'}]\n" + LOG,
            "log[0].drop[0].matches",
            "size limit",
        ),
        ("[log]\njoin = [{file = '../secret.csv', on = 'x'}]\n" + LOG, "log[0].join[0].file", "in the same folder"),
        (f"[log.columns]\naction = 'a{'.' * 40}'\n", "log[0].columns.action.path[0]", "at most 32 names"),
        (f"[log.columns]\naction = 'a{'.' * 10_000}'\n", "log[0].columns.action.path[0]", "at most"),
        ("[catalogue.columns]\ntitle = 't'\n", "catalogue[0]", "expected a column product_id"),
        ("[catalogue.columns]\nproduct_id = 'i'\n", "catalogue[0]", "expected a column title"),
        ("[catalogue]\nkeep_others = 2\n[catalogue.columns]\n", "catalogue[0].keep_others", "must be"),
    ],
)
def test_a_fault_is_named_by_file_and_field(tmp_path: Path, text: str, field: str | None, problem: str) -> None:
    file = write(tmp_path, text)
    with pytest.raises(InvalidData) as caught:
        Mapping.read(file)
    assert problem in caught.value.problem
    assert (caught.value.file, caught.value.field) == (file, field)


def test_what_is_no_file_or_too_large_is_refused(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match=r"missing\.toml"):
        Mapping.read(tmp_path / "missing.toml")
    with pytest.raises(InvalidData, match="not TOML"):
        Mapping.read(tmp_path)
    with pytest.raises(InvalidData, match="too large"):
        Mapping.read(write(tmp_path, "#" * (2 << 20)))


def test_a_mapping_of_very_many_columns_is_refused(tmp_path: Path) -> None:
    columns = "".join(f"c{number} = 'a'\n" for number in range(50_000))
    with pytest.raises(InvalidData, match="at most 1000"):
        Mapping.read(write(tmp_path, "[catalogue.columns]\nproduct_id = 'i'\ntitle = 't'\n" + columns))


def test_a_ready_made_mapping_has_a_name_and_an_unknown_one_suggests_it() -> None:
    names = mapping_names()
    assert names == sorted(names)
    assert Mapping.open(names[0]).description
    with pytest.raises(NotFound, match=f"did you mean '{names[0]}'"):
        Mapping.open(names[0] + "x")


def test_a_name_with_a_folder_or_toml_is_a_file(tmp_path: Path) -> None:
    file = write(tmp_path, LOG)
    assert Mapping.open(file) == Mapping.open(str(file)) == Mapping.read(file)
    with pytest.raises(NotFound, match="no such file"):
        Mapping.open("nowhere.toml")


@pytest.mark.parametrize(
    ("file", "part", "is_catalogue"),
    [
        ("clicks-1.csv", "view", False),
        ("BUYS.csv", "buy", False),
        ("items.csv", None, True),
        ("other.csv", "add", False),
    ],
)
def test_patterns_choose_the_part_of_a_file(tmp_path: Path, file: str, part: str | None, is_catalogue: bool) -> None:
    mapping = Mapping.read(
        write(
            tmp_path,
            """
            [[log]]
            files = ["clicks*"]
            columns = {action = {value = "view"}}
            [[log]]
            files = ["buys*"]
            columns = {action = {value = "buy"}}
            [[log]]
            columns = {action = {value = "add"}}
            [catalogue]
            files = ["items*"]
            columns = {product_id = "id", title = "name"}
            """,
        )
    )
    chosen = mapping.log_of(file)
    assert (chosen.columns.action.value if chosen else None) == part
    assert mapping.names_catalogue(file) is is_catalogue
    assert (mapping.catalogue_of(file) is not None) is is_catalogue
