"""Answers under an experiment: arms with versions and rules, and lists drafted from two."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.indexer.service.http.served import Serve, Served
from ubm_embed.errors import InvalidData

VIEW = {"action": "view", "product_id": "p1"}
ARMS = """
[[arms]]
name = "all"
version = 1

[[arms]]
name = "shirts"
rules = { where = "category = 'shirts'" }
"""


@pytest.fixture(scope="module")
def compared(serve: Serve, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    file = tmp_path_factory.mktemp("experiment") / "experiment.toml"
    file.write_text(f'name = "shirts"\nkind = "ab"\n{ARMS}')
    with serve(experiment=file) as served:
        yield served


class TestArms:
    def test_a_session_has_one_arm(self, compared: Served) -> None:
        session = {"session_id": "s", "interactions": [VIEW]}
        assert len({compared.recommend(**session)["arm"] for _ in range(5)}) == 1

    def test_an_arms_rules_hold_with_those_of_the_request(self, compared: Served) -> None:
        sessions = [{"session_id": f"s{number}", "interactions": [VIEW]} for number in range(30)]
        answers = compared.recommend(sessions=sessions, k=9, where="product_id <> 'p3'")["answers"]
        assert {answer["arm"] for answer in answers} == {"all", "shirts"}
        assert [answer["session_id"] for answer in answers] == [session["session_id"] for session in sessions]
        for answer in answers:
            categories = {match["category"] for match in answer["matches"]}
            assert (categories == {"shirts"}) == (answer["arm"] == "shirts")
            assert "p3" not in {match["product_id"] for match in answer["matches"]}

    def test_a_request_without_a_session_takes_no_part(self, compared: Served) -> None:
        assert "arm" not in compared.recommend(interactions=[VIEW])

    def test_info_and_the_report_name_the_arms(self, compared: Served) -> None:
        assert [arm["name"] for arm in compared.client.get("/info").json()["experiment"]["arms"]] == ["all", "shirts"]
        report = compared.client.get("/v1/admin/experiments").json()
        assert [arm["arm"] for arm in report["arms"]] == ["all", "shirts"]

    def test_a_condition_that_brackets_would_mend_is_refused(self, compared: Served) -> None:
        session = {"session_id": "s", "interactions": [VIEW]}
        body = {"sessions": [session | {"session_id": f"s{number}"} for number in range(30)], "where": "1=1) OR (1=1"}
        assert compared.client.post("/v1/recommend", json=body).status_code == 422


def test_interleaved_answers_are_drafted_from_both_lists(serve: Serve, tmp_path: Path) -> None:
    file = tmp_path / "experiment.toml"
    file.write_text(f'name = "mix"\nkind = "interleave"\n{ARMS}')
    with serve(experiment=file) as served:
        alone = served.recommend(interactions=[VIEW], k=4)
        shirts = served.recommend(interactions=[VIEW], k=4, where="category = 'shirts'")
        mixed = served.recommend(session_id="s", interactions=[VIEW], k=4)
        assert "arm" not in alone
        assert mixed["arm"] == "all+shirts"
        ids = [[match["product_id"] for match in answer["matches"]] for answer in (alone, shirts, mixed)]
        assert len(set(ids[2])) == 4
        assert set(ids[2]) <= {*ids[0], *ids[1]}
        assert {ids[0][0], ids[1][0]} <= set(ids[2])
        assert [match["rank"] for match in mixed["matches"]] == [1, 2, 3, 4]
        click = {"session_id": "s", "action": "view", "product_id": ids[1][0], "answer_id": mixed["answer_id"]}
        served.post("/v1/events", click)
        assert served.client.get("/v1/admin/experiments").json()["interleaving"]


def test_a_request_of_as_many_sessions_as_it_may_have_is_interleaved(serve: Serve, tmp_path: Path) -> None:
    file = tmp_path / "experiment.toml"
    file.write_text(f'name = "mix"\nkind = "interleave"\n{ARMS.replace("version = 1", "")}')
    with serve(experiment=file, max_sessions=2) as served:
        sessions = [{"session_id": name, "interactions": [VIEW]} for name in ("s", "t")]
        assert [answer["arm"] for answer in served.recommend(sessions=sessions)["answers"]] == ["all+shirts"] * 2


@pytest.mark.parametrize("rules", ['where = "no_such_column = 1"', "max_per = { no_such_column = 2 }"])
@pytest.mark.parametrize("version", ["", "version = 1"])
def test_rules_that_do_not_fit_a_version_are_refused_at_the_start(
    serve: Serve, tmp_path: Path, version: str, rules: str
) -> None:
    file = tmp_path / "experiment.toml"
    file.write_text(
        f'name = "bad"\nkind = "ab"\n[[arms]]\nname = "good"\n[[arms]]\nname = "bad"\n{version}\nrules = {{ {rules} }}'
    )
    with pytest.raises(InvalidData, match=r"arm 'bad' do not fit version 1.*no_such_column"), serve(experiment=file):
        pass
