"""Which arm a session has, and what its rules do to those of a request."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from indexer.search.ranking import MAX_BOOST, Rules
from indexer.service.experiments.experiment import Arm, Experiment, apply
from ubm_embed.errors import InvalidData, NotFound

AUTUMN = """
name = "autumn"
kind = "ab"

[[arms]]
name = "control"
weight = 3

[[arms]]
name = "diverse"
version = "candidate"
rules = { diversity = 0.3, where = "price > 1", max_per = { brand = 2 } }
"""


def write(folder: Path, text: str) -> Path:
    file = folder / "experiment.toml"
    file.write_text(text)
    return file


def two_arms(weight: float = 1.0) -> Experiment:
    return Experiment(name="x", kind="ab", arms=(Arm(name="a", weight=weight), Arm(name="b")))


class TestRead:
    def test_what_a_file_says(self, tmp_path: Path) -> None:
        experiment = Experiment.read(write(tmp_path, AUTUMN))
        control, diverse = experiment.arms
        assert (experiment.name, experiment.is_interleaved) == ("autumn", False)
        assert (control.weight, control.version, control.rules) == (3, None, Rules())
        assert (diverse.weight, diverse.version) == (1, "candidate")
        assert diverse.rules == Rules(diversity=0.3, where="price > 1", max_per={"brand": 2})

    @pytest.mark.parametrize(
        ("text", "instead", "complaint"),
        [
            ('kind = "ab"', 'kind = "abc"', "field 'kind': must be 'ab' or 'interleave', got 'abc'"),
            ('name = "autumn"', "", "field 'name': missing"),
            ("weight = 3", "weihgt = 3", "field 'arms[0].weihgt': unknown; did you mean 'weight'?"),
            ("weight = 3", "weight = 0", "field 'arms[0].weight': must be above 0, got 0"),
            ("weight = 3", "weight = nan", "field 'arms[0].weight': must be a finite number"),
            ('"control"', '"a/b"', "field 'arms[0].name': must match pattern"),
            ('"control"', '"diverse"', "arms must have different names, got 'diverse' twice"),
            ('"candidate"', "0", "field 'arms[1].version': must be the number of a version or a tag, got 0"),
            ('"candidate"', "true", "field 'arms[1].version': must be the number of a version or a tag, got True"),
            ("brand = 2", "brand = 0", "field 'arms[1].rules.max_per.brand': must be at least 1, got 0"),
            ("price > 1", "a) OR (b", "field 'arms[1].rules': where: ')' at character 2 closes nothing"),
            ('kind = "ab"', 'kind = "interleave"', "arms must have no weights if they are interleaved"),
        ],
    )
    def test_a_mistake_is_named_with_file_and_field(
        self, tmp_path: Path, text: str, instead: str, complaint: str
    ) -> None:
        assert text in AUTUMN
        file = write(tmp_path, AUTUMN.replace(text, instead))
        with pytest.raises(InvalidData) as error:
            Experiment.read(file)
        assert str(error.value).startswith(str(file))
        assert complaint in str(error.value)

    def test_no_file(self, tmp_path: Path) -> None:
        with pytest.raises(NotFound):
            Experiment.read(tmp_path / "none.toml")

    def test_an_interleaving_has_two_arms(self) -> None:
        with pytest.raises(ValueError, match="arms must be two to be interleaved, got 3"):
            Experiment(name="x", kind="interleave", arms=tuple(Arm(name=name) for name in "abc"))


class TestVersions:
    def test_tags_become_numbers(self) -> None:
        arms = (Arm(name="live"), Arm(name="tagged", version="candidate"), Arm(name="old", version=3))
        experiment = Experiment(name="x", kind="ab", arms=arms).with_numbers({"candidate": 12}.__getitem__)
        assert [arm.version for arm in experiment.arms] == [None, 12, 3]
        assert experiment.pinned == (3, 12)


class TestArms:
    def test_a_session_has_the_same_arm_on_every_machine(self) -> None:
        experiment = two_arms()
        drawn = [arm.name if (arm := experiment.arm_of(f"session-{number}")) else "" for number in range(12)]
        assert "".join(drawn) == "bbabbbbbaabb"

    @pytest.mark.parametrize(("weight", "share"), [(1.0, 0.5), (3.0, 0.75), (0.25, 0.2)])
    def test_sessions_are_shared_out_by_weight(self, weight: float, share: float) -> None:
        experiment, sessions = two_arms(weight), 20_000
        drawn = Counter(arm.name for number in range(sessions) if (arm := experiment.arm_of(str(number))))
        assert drawn["a"] / sessions == pytest.approx(share, abs=4 * (share * (1 - share) / sessions) ** 0.5)

    def test_another_salt_draws_independently(self) -> None:
        first, sessions = two_arms(), [str(number) for number in range(10_000)]
        second = first.replace(salt="another")
        same = sum(first.arm_of(session) == second.arm_of(session) for session in sessions)
        assert same == pytest.approx(5_000, abs=4 * 50)

    def test_any_text_is_a_session_id(self) -> None:
        assert two_arms().arm_of("\ud83d \0 é") in two_arms().arms

    def test_a_request_without_session_has_no_arm(self) -> None:
        assert two_arms().arm_of(None) is None

    def test_sessions_of_an_interleaving_have_no_arm_but_a_name_to_be_counted_under(self) -> None:
        experiment = Experiment(name="x", kind="interleave", arms=(Arm(name="a"), Arm(name="b")))
        assert experiment.arm_of("s") is None
        assert experiment.interleaved_arm == "a+b"


class TestRules:
    ARM = Arm(
        name="a",
        rules=Rules(
            where="price > 1", diversity=0.3, boost={"p1": 0.1, "p2": 0.2}, exclude=frozenset({"p8"}), max_per={"x": 1}
        ),
    )

    def test_a_request_without_rules_has_those_of_the_arm(self) -> None:
        assert apply(self.ARM, Rules()) == self.ARM.rules

    def test_an_arm_without_rules_changes_nothing(self) -> None:
        rules = Rules(diversity=0.5)
        assert apply(Arm(name="a"), rules) == rules

    def test_what_a_request_says_counts(self) -> None:
        combined = apply(self.ARM, Rules(diversity=0.0, max_per={"x": 3, "y": 2}))
        assert (combined.diversity, combined.max_per) == (0.0, {"x": 3, "y": 2})
        assert combined.where == "price > 1"

    def test_both_conditions_must_hold(self) -> None:
        combined = apply(self.ARM, Rules(where="a OR b"))
        assert combined.where == "(price > 1) AND (a OR b)"
        assert combined.diversity == 0.3

    def test_brackets_cannot_hide_a_condition_that_ends_early(self) -> None:
        with pytest.raises(InvalidData, match="closes nothing"):
            apply(self.ARM, Rules(where="a) OR (b"))

    def test_boosts_add_up_and_both_exclude(self) -> None:
        combined = apply(self.ARM, Rules(boost={"p2": 0.5, "p3": 1.0}, exclude=frozenset({"p9"})))
        assert combined.boost == {"p1": 0.1, "p2": 0.7, "p3": 1.0}
        assert combined.exclude == {"p8", "p9"}
        assert apply(self.ARM, Rules(boost={"p1": MAX_BOOST})).boost["p1"] == MAX_BOOST
