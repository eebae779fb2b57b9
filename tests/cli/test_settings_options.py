"""The options of settings: names, panels, bounds, help and defaults, and the values that a command receives."""

from __future__ import annotations

import enum
import inspect
from typing import Annotated, Any, get_args

import pytest
import typer
from pydantic import Field
from typer.testing import CliRunner

from cli.main import app, run
from cli.renamed import RENAMED
from cli.settings_options import After, OptionsOf, usage_error, with_options
from ubm_embed.data.tasks.task import SplitKind, Task
from ubm_embed.model.precision import Precision
from ubm_embed.training.finetuning.config import FinetuningConfig
from ubm_embed.training.model_sizes import ModelSizes
from ubm_embed.training.pretraining.config import Loss, PretrainingConfig
from ubm_embed.training.recipes import Recipe
from ubm_embed.training.settings import Setting, Settings


class Colour(enum.StrEnum):
    RED = "red"
    BLUE = "blue"


class Kiln(Settings):
    heat: Annotated[int, Field(ge=1, le=9, description="How hot."), Setting(panel="Fire", shop=3, paper=2)] = 1
    rest: Annotated[float | None, Field(gt=0, description="A pause."), Setting(panel="Fire", unset="no pause")] = None
    colour: Annotated[Colour, Field(strict=False, description="A glaze."), Setting(panel="Look")] = Colour.BLUE
    glossy: Annotated[bool, Field(description="Shine."), Setting(panel="Look", shop=True)] = False
    matt: Annotated[bool, Field(description="No shine."), Setting(panel="Look", name="--matt/--bright")] = False
    rounds: Annotated[
        tuple[int, ...],
        Field(description="Firings."),
        Setting(panel="Options", name="--round", choices={"1": (1,), "both": (1, 2)}),
    ] = (1, 2)
    colours: Annotated[
        tuple[Annotated[Colour, Field(strict=False)], ...],
        Field(description="Leave it out."),
        Setting(panel="Look", name="--without", lists_omissions=True),
    ] = tuple(Colour)
    secret: Annotated[int, Field(description="No option."), Setting(shop=4)] = 5


@pytest.fixture
def kiln() -> Any:
    """Runs a command with the options of `Kiln`: its result, and the values that it was given."""
    received: dict[str, Any] = {}

    def fire(
        *,
        name: Annotated[str, typer.Option("--name")],
        settings: Annotated[dict[str, Any], OptionsOf(Kiln)],
        door: Annotated[str, typer.Option("--door", rich_help_panel="Fire"), After("heat")] = "shut",
    ) -> None:
        """Fire it."""
        received.update(name=name, door=door, settings=settings)

    program = typer.Typer()
    program.command()(with_options(fire))

    def run(*arguments: str) -> tuple[Any, dict[str, Any]]:
        received.clear()
        return CliRunner().invoke(program, ["--name", "k", *arguments], env={"COLUMNS": "200"}), dict(received)

    return run


# The defaults on which both recipes agree.
AGREED = {"colour": Colour.BLUE, "matt": False, "rounds": (1, 2)}


class TestValues:
    def test_are_those_given_and_the_defaults_that_recipes_agree_on(self, kiln: Any) -> None:
        result, received = kiln("--heat", "7", "--door", "open")
        assert result.exit_code == 0, result.output
        assert received == {"name": "k", "door": "open", "settings": {"heat": 7, **AGREED}}
        assert kiln()[1]["settings"] == AGREED

    @pytest.mark.parametrize(
        ("arguments", "expected"),
        [
            (["--rest", "0.5"], {"rest": 0.5}),
            (["--colour", "red"], {"colour": Colour.RED}),
            (["--glossy"], {"glossy": True}),
            (["--no-glossy"], {"glossy": False}),
            (["--matt"], {"matt": True}),
            (["--matt", "--bright"], {"matt": False}),
            (["--round", "1"], {"rounds": (1,)}),
            (["--without", "red"], {"colours": (Colour.BLUE,)}),
            (["--without", "red", "--without", "blue"], {"colours": ()}),
        ],
    )
    def test_have_the_type_of_the_field(self, kiln: Any, arguments: list[str], expected: dict[str, Any]) -> None:
        result, received = kiln(*arguments)
        assert result.exit_code == 0, result.output
        assert received["settings"] == AGREED | expected

    @pytest.mark.parametrize(
        "arguments", [["--heat", "0"], ["--heat", "10"], ["--heat", "x"], ["--colour", "green"], ["--round", "2"]]
    )
    def test_out_of_bounds_are_wrong_usage(self, kiln: Any, arguments: list[str]) -> None:
        result, received = kiln(*arguments)
        assert (result.exit_code, received) == (2, {})
        assert arguments[0] in result.output

    def test_of_a_field_without_an_option_cannot_be_given(self, kiln: Any) -> None:
        assert kiln("--secret", "3")[0].exit_code == 2


class TestHelp:
    @pytest.mark.parametrize(
        ("option", "text"),
        [
            ("--heat", "How hot. [default: (shop: 3; paper: 2)]"),
            ("--rest", "A pause. [default: (no pause)]"),
            ("--colour", "A glaze. [default: blue]"),
            ("--glossy", "Shine. [default: (shop: glossy; paper: no-glossy)]"),
            ("--matt", "No shine. [default: bright]"),
            ("--round", "Firings. [default: both]"),
            ("--without", "Leave it out."),
        ],
    )
    def test_says_what_it_does_and_its_default_by_recipe(self, kiln: Any, option: str, text: str) -> None:
        (line,) = [line for line in kiln("--help")[0].output.splitlines() if f" {option} " in line]
        assert line.rstrip(" │").endswith(f" {text}")

    def test_lists_an_option_of_the_command_after_the_setting_it_names(self, kiln: Any) -> None:
        lines = kiln("--help")[0].output
        assert lines.index("--heat") < lines.index("--door") < lines.index("--rest")


def test_recipes_that_differ_by_task_and_settings_of_one_task() -> None:
    """As the help of `finetune` says them."""
    command = typer.main.get_command(app).commands["finetune"]  # type: ignore[attr-defined]
    options = {option.name: option for option in command.params}
    assert options["max_steps"].show_default == "shop: nip 2000, pip and rlp 600; paper: no limit"
    assert options["max_steps"].help == "Limit of steps."
    assert options["min_count"].help.startswith("nip: ")
    assert options["min_count"].show_default == "shop: 1; paper: 5"
    assert options["min_interactions"].help.startswith("pip, rlp: ")


PANELS = {
    "pretrain": {
        None: ["--corpus", "--out", "--recipe"],
        "Options": ["--stage"],
        "Model": ["--init", "--layers", "--width", "--session-layers", "--dropout", "--vocab", "--vocab-size"],
        "Training": [
            *("--epochs", "--max-steps", "--session-max-steps", "--item-batch", "--session-batch", "--learning-rate"),
            *("--session-learning-rate", "--temperature", "--without-loss", "--denominator", "--pairs-per-session"),
            *("--item-actions/--no-item-actions", "--mask-known-next-items/--no-mask-known-next-items"),
            *("--purchases-only/--all-sessions", "--holdout", "--split"),
        ],
        "Run": [
            *("--seed", "--precision", "--device", "--chunk-tokens", "--checkpoint-steps", "--resume", "--restart"),
            *("--overwrite", "--track"),
        ],
    },
    "finetune": {
        None: ["--model", "--corpus", "--out", "--recipe"],
        "Training": [
            *("--only-session-encoder", "--only-head/--whole-model", "--read-texts-every"),
            "--train-products/--fixed-products",
            *("--all-positions/--one-position", "--session-features/--vectors-only"),
            *("--item-embeddings/--words-only", "--epochs", "--max-steps", "--batch"),
            *(
                "--learning-rate",
                "--patience",
                "--validation-steps",
                "--refit/--no-refit",
                "--negatives",
                "--precision",
            ),
            "--chunk-tokens",
        ],
        "Task": [
            *("--min-count", "--max-per-session", "--repeats/--no-repeats", "--min-interactions", "--split"),
            "--holdout",
        ],
        "Run": ["--seed", "--device", "--resume", "--restart", "--overwrite", "--track"],
    },
}


@pytest.mark.parametrize("name", PANELS)
def test_options_and_panels_of_a_command_in_order(name: str) -> None:
    command = typer.main.get_command(app).commands[name]  # type: ignore[attr-defined]
    panels: dict[str | None, list[str]] = {}
    for option in command.params:
        if option.param_type_name == "option" and option.name != "help":
            names = "/".join([*option.opts, *option.secondary_opts])
            panels.setdefault(option.rich_help_panel, []).append(names)
    assert panels == PANELS[name]


@pytest.mark.parametrize("settings", [PretrainingConfig, FinetuningConfig, ModelSizes])
def test_every_setting_says_what_it_is(settings: type[Settings]) -> None:
    for name, field in settings.model_fields.items():
        assert field.description, name
        assert field.description.endswith("."), name


def test_options_offer_the_library_s_own_words() -> None:
    """None of them is declared a second time for the command line."""
    types = {**types_of_options("finetune"), **types_of_options("pretrain")}
    assert types["split"] == SplitKind | None
    assert types["precision"] == Precision | None
    assert types["losses"] == list[Loss] | None
    assert types["recipe"] is Recipe
    assert types["task"] is Task


def types_of_options(command: str) -> dict[str, Any]:
    callback = typer.main.get_command(app).commands[command].callback  # type: ignore[attr-defined]
    return {name: get_args(option.annotation)[0] for name, option in inspect.signature(callback).parameters.items()}


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"heat": 0}, "--heat must be at least 1, got 0"),
        ({"rest": 0.0}, "--rest must be above 0, got 0.0"),
        ({"rounds": "x"}, "--round must"),
        ({"matt": 1}, "--matt must be true or false, got 1"),
        ({"colours": "x"}, "--without: colours must be a list"),
        ({"secret": "x"}, "secret must be an integer"),
    ],
)
def test_an_error_of_the_settings_names_the_option(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError) as caught:  # noqa: PT011 - its message is what is tested
        Kiln(**values)
    assert usage_error(caught.value, Kiln).message.startswith(message)


def test_other_words_of_an_error_are_left_alone() -> None:
    error = usage_error(ValueError("preheat needs heat, and no rest_heat or --heat"), Kiln)
    assert error.message == "preheat needs --heat, and no rest_heat or --heat"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--learning-rate", "0"], "--learning-rate must be above 0, got 0.0"),
        (["--width", "5"], "--width must be a multiple of 4, got 5"),
        (["--width", "999999999"], "--width"),
        (["--layers", "999999999"], "--layers"),
        (["--session-layers", "999999999"], "--session-layers"),
        (["--vocab-size", "999999999999"], "--vocab-size"),
        (["--pairs-per-session", str(2**64)], "--pairs-per-session"),
        (["--seed", str(2**64)], "--seed"),
        (["--seed", "-1"], "--seed"),
    ],
)
def test_a_setting_out_of_bounds_is_a_usage_error_before_anything_is_read(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["pretrain", "--corpus", "nowhere", "--out", "nowhere", *arguments]) == 2
    assert message in capsys.readouterr().err


class TestRenamed:
    """An option of an earlier version is an error that says its new name."""

    def test_every_new_name_is_an_option(self) -> None:
        group: Any = typer.main.get_command(app)
        options = {name for command in group.commands.values() for one in command.params for name in one.opts}
        assert set(RENAMED.values()) <= options | {"--one-position"}
        assert not set(RENAMED) & options

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            (["finetune", "nip", "--least", "3"], "--least was renamed to --min-interactions"),
            (["evaluate", "nip", "--most=3"], "--most was renamed to --max-examples"),
            (["query", "--encoder", "onnx"], "No such option: --encoder"),
        ],
    )
    def test_an_option(self, arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
        assert run(arguments) == 2
        assert message in capsys.readouterr().err

    def test_a_variable(self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        monkeypatch.setenv("UBM_EMBED_MOST", "3")
        run(["--version"])
        assert "UBM_EMBED_MOST has no effect: it was renamed to UBM_EMBED_MAX_EXAMPLES" in capsys.readouterr().err
