"""`ubm-embed diagnose`: is an embedding space healthy, and what moved between two versions."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from cli.console import Format, choose_format, complain, cut_off_by_reader, progress, say, write_json
from cli.device import device_option, usable_device
from cli.diagnose_options import (
    SETTINGS,
    given,
    leave_out_unused_variables,
    require_one_subject,
    settings_of,
)
from cli.extras import require_libraries
from cli.process import set_up_process
from cli.store_options import read_settings

if TYPE_CHECKING:
    from indexer.diagnostics.diagnosis import Sources
    from indexer.diagnostics.report import Diagnosis
    from indexer.diagnostics.settings import DiagnosisSettings
    from indexer.diagnostics.thresholds import FailOn
    from ubm_embed.model.folder import ModelFolder
    from ubm_embed.progress import Progress

FAILED = 6
_SAMPLES = "Samples"


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("diagnose")(diagnose)


def _print_schema(wanted: bool) -> None:
    if wanted:
        from indexer.diagnostics.json_schema import document_schema

        write_json(document_schema())
        raise typer.Exit


def _sample(name: str, text: str) -> Any:
    return typer.Option(SETTINGS[name], help=text, rich_help_panel=_SAMPLES)


def _head(task: str, predictions: str) -> Any:
    text = f"A model of `finetune {task}`: its {predictions} are compared with what happened."
    return typer.Option(metavar="DIR", help=text)


def diagnose(
    context: typer.Context,
    store: Annotated[
        str | None, typer.Option("--store", metavar="DIR", help="Diagnose a version of this store: a folder or a URI.")
    ] = None,
    number: Annotated[
        str | None,
        typer.Option("--version", metavar="N|TAG", help="The version.", show_default="the live one"),
    ] = None,
    against: Annotated[
        str | None,
        typer.Option("--against", metavar="N|TAG", help="An earlier version: tell what moved since then."),
    ] = None,
    model: Annotated[
        list[Path] | None,
        typer.Option(
            "--model",
            metavar="DIR",
            help="Diagnose this model on the products of --corpus; further ones are compared with it; repeatable.",
        ),
    ] = None,
    corpus: Annotated[
        Path | None,
        typer.Option(
            "--corpus", metavar="DIR", help="Sessions of the shop. Without them, nothing is said about answers."
        ),
    ] = None,
    run: Annotated[
        Path | None,
        typer.Option("--run", metavar="DIR", help="Diagnose a training run: OUT.training, or the model's folder."),
    ] = None,
    purchase_intention: Annotated[Path | None, _head("pip", "probabilities of a purchase")] = None,
    remaining_length: Annotated[Path | None, _head("rlp", "remaining lengths")] = None,
    fail_on: Annotated[
        str | None,
        typer.Option(
            "--fail-on",
            metavar="CONDITIONS",
            help="Exit with 6 if one of these holds, as in retention<0.6,error. The value counts, not its interval.",
        ),
    ] = None,
    html: Annotated[
        Path | None,
        typer.Option("--html", metavar="FILE", help="Also write the report with pictures as one HTML file."),
    ] = None,
    png: Annotated[
        Path | None, typer.Option("--png", metavar="DIR", help="Also write the pictures to a new folder, as PNG files.")
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the folder of --png.")] = False,
    map_method: Annotated[
        Literal["pca", "tsne"] | None,
        typer.Option("--map-method", help="How maps are made; tsne needs openTSNE.", show_default="pca"),
    ] = None,
    config: Annotated[
        Path | None,
        typer.Option("--config", metavar="FILE", help="TOML: limits of the gates, as `refresh` reads them."),
    ] = None,
    output_format: Annotated[
        Format | None, typer.Option("--format", help="Default: tables on a terminal, else JSON.")
    ] = None,
    sample: Annotated[int, _sample("sample", "Products that are compared with each other.")] = 4000,
    queries: Annotated[int, _sample("queries", "Products whose nearest are sought among all.")] = 500,
    texts: Annotated[int, _sample("texts", "Products whose texts are read again.")] = 256,
    sessions: Annotated[int, _sample("sessions", "Sessions that are read and answered.")] = 400,
    examples: Annotated[int, _sample("examples", "Sessions whose outcome is compared with its prediction.")] = 800,
    embedded: Annotated[int, _sample("embedded", "Products that a model embeds for --model.")] = 20_000,
    rounds: Annotated[int, _sample("rounds", "Resamples for an interval.")] = 300,
    seed: Annotated[int, _sample("seed", "Seed of all samples.")] = 0,
    device: Annotated[str, device_option()] = "auto",
    schema: Annotated[
        bool,
        typer.Option(
            "--schema", help="Print the JSON Schema of the report and exit.", callback=_print_schema, is_eager=True
        ),
    ] = False,
) -> None:
    """Tell whether an embedding space is healthy, what moved between two versions, and how a training run went.

    Findings come first, the worst at the top, each with its figure and what to
    do; only --fail-on lets them change the exit code. Large catalogues are
    sampled, and figures have 95% intervals. See docs/diagnostics.md.
    """
    options = locals()
    leave_out_unused_variables(options, context)
    settings = settings_of(options)
    require_one_subject(options)
    conditions = _conditions(fail_on, given(options))
    _require_outputs(options)
    _require_libraries(options)
    options["device"] = usable_device(device)
    set_up_process()
    with progress() as report_progress:
        diagnosis = _diagnose(options, settings, report_progress)
    if html is not None:
        _write_page(diagnosis, html)
    if png is not None:
        _write_pngs(diagnosis, png, overwrite=overwrite)
    from cli.diagnosis_output import summary, write_diagnosis

    with cut_off_by_reader():  # the conditions count all the same
        write_diagnosis(diagnosis, choose_format(output_format))
    say(summary(diagnosis))
    if conditions is not None:
        _check(conditions, diagnosis)


def _conditions(text: str | None, options: set[str]) -> FailOn | None:
    """The conditions of `--fail-on`; one that cannot be measured with these options is a usage error."""
    if text is None:
        return None
    from indexer.diagnostics.thresholds import FailOn

    try:
        conditions = FailOn.parse(text)
    except ValueError as error:
        raise typer.BadParameter(f"--fail-on: {error}") from None
    if out_of_reach := next(conditions.out_of_reach(options), None):
        raise typer.BadParameter(f"--fail-on: {out_of_reach}")
    return conditions


def _require_outputs(options: dict[str, Any]) -> None:
    """Raise for outputs that could not be written: before the long work."""
    from ubm_embed.outputs import require_free, require_writable, require_writable_folder

    if options["html"] is not None:
        require_writable(options["html"])
    if options["png"] is not None:
        require_free(options["png"], overwrite=options["overwrite"])
        require_writable_folder(options["png"])


def _require_libraries(options: dict[str, Any]) -> None:
    """Raise for a library that is missing: before the long work."""
    if options["purchase_intention"] is not None:
        require_libraries("sklearn", extra="diagnose")
    if _wants_pictures(options):
        require_libraries("altair", "sklearn", "vl_convert", extra="diagnose")
        if options["map_method"] == "tsne":
            require_libraries("openTSNE", extra="tsne")


def _wants_pictures(options: dict[str, Any]) -> bool:
    return options["html"] is not None or options["png"] is not None


def _diagnose(options: dict[str, Any], settings: DiagnosisSettings, report: Progress) -> Diagnosis:
    from indexer.diagnostics.diagnosis import diagnose_models, diagnose_run, diagnose_version

    if options["run"] is not None:
        return diagnose_run(options["run"], report)
    sources = _sources(options, settings)
    if options["model"]:
        return diagnose_models(options["model"], sources, report)
    from indexer.store.embedding_store import EmbeddingStore
    from indexer.versions.tags import resolve_number

    store = EmbeddingStore.open(options["store"])
    numbers = (options["number"], options["against"])
    number, against = (None if name is None else resolve_number(store, name) for name in numbers)
    return diagnose_version(store, number, against=against, sources=sources, progress=report)


def _sources(options: dict[str, Any], settings: DiagnosisSettings) -> Sources:
    from indexer.diagnostics.diagnosis import Sources
    from indexer.diagnostics.maps.projection import MapMethod
    from ubm_embed.data.corpus import Corpus

    corpus = None if options["corpus"] is None else Corpus.open(options["corpus"])
    return Sources(
        corpus=corpus,
        heads=tuple(_heads(options)),
        settings=settings,
        map_method=MapMethod(options["map_method"] or "pca") if _wants_pictures(options) else None,
        refresh=None if options["config"] is None else read_settings(options["config"]),
        device=options["device"],
    )


def _heads(options: dict[str, Any]) -> Iterator[ModelFolder]:
    """The models that predict, each with the head that its option needs."""
    from ubm_embed.data.tasks.task import Task
    from ubm_embed.model.folder import ModelFolder, require_task

    for task, name in ((Task.PIP, "purchase_intention"), (Task.RLP, "remaining_length")):
        if options[name] is not None:
            model = ModelFolder.open(options[name])
            require_task(model, task)
            yield model


def _write_page(diagnosis: Diagnosis, file: Path) -> None:
    from indexer.diagnostics.pictures.page import html_page
    from ubm_embed.outputs import output_file

    with output_file(file) as aside:
        aside.write_text(html_page(diagnosis), "utf-8")


def _write_pngs(diagnosis: Diagnosis, folder: Path, *, overwrite: bool) -> None:
    from indexer.diagnostics.pictures.pngs import write_pngs
    from ubm_embed.outputs import output_folder

    with output_folder(folder, overwrite=overwrite) as aside:
        write_pngs(diagnosis, aside)


def _check(conditions: FailOn, diagnosis: Diagnosis) -> None:
    """End with 6 if a condition holds; one that was not measured is an error as well, so that no gate is silent."""
    from ubm_embed.errors import InvalidData

    failures = list(conditions.failures(diagnosis))
    for failure in failures:
        complain(f"--fail-on {failure}")
    unmeasured = conditions.unmeasured(diagnosis)
    if unmeasured:
        problem = f"{', '.join(unmeasured)} could not be measured here; see the notes of the report"
        if not failures:
            raise InvalidData(f"--fail-on: {problem}")
        complain(f"--fail-on: {problem}")
    if failures:
        raise typer.Exit(FAILED)
