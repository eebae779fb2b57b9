"""A version of a store, models or a training run, diagnosed: opens what is looked at and puts the sections together."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from indexer.diagnostics.answers.answers import answers_section
from indexer.diagnostics.answers.calibration import calibration_section
from indexer.diagnostics.changes.changes import changes_section
from indexer.diagnostics.changes.timeline import timeline_section
from indexer.diagnostics.finding import Fault
from indexer.diagnostics.geometry.alignment import alignment_section
from indexer.diagnostics.geometry.space_health import space_section
from indexer.diagnostics.integrity.integrity import integrity_section
from indexer.diagnostics.maps.maps import map_section
from indexer.diagnostics.maps.projection import MapMethod
from indexer.diagnostics.report import Diagnosis, Section
from indexer.diagnostics.session_sample import SessionSample
from indexer.diagnostics.settings import DiagnosisSettings
from indexer.diagnostics.space import ModelSpace, Space, VersionSpace
from indexer.diagnostics.training_run.run import run_section
from indexer.index.vector_index import VectorIndex
from indexer.refresh.model_copy import open_model
from indexer.refresh.settings import RefreshSettings
from indexer.store.embedding_store import EmbeddingStore, model_folder
from indexer.versions.live import live_number, read_live, version_numbers
from indexer.versions.revision import version_label
from indexer.versions.software import software
from ubm_embed.data.corpus import Corpus
from ubm_embed.errors import Conflict, NotFound, UbmError
from ubm_embed.inference.embedder import Embedder
from ubm_embed.model.folder import ModelFolder
from ubm_embed.progress import Progress, silent


@dataclass(frozen=True, kw_only=True)
class Sources:
    """What a diagnosis reads beside vectors, how much of it, and how.

    Attributes:
        corpus: sessions and products; without it there are no sections about sessions and answers.
        heads: models of `finetune pip` and `rlp`, whose calibration is measured on the corpus.
        map_method: of the maps; None for no maps.
        refresh: the limits of its gates decide what counts as moved; None for those that a version was published with.
        device: of the models.
    """

    corpus: Corpus | None = None
    heads: Sequence[ModelFolder] = ()
    settings: DiagnosisSettings = field(default_factory=DiagnosisSettings)
    map_method: MapMethod | None = None
    refresh: RefreshSettings | None = None
    device: str = "auto"

    def session_sample(self, model: ModelFolder) -> SessionSample | None:
        """Sessions of the corpus that the model's training has not read, if there is a corpus."""
        if self.corpus is None:
            return None
        return SessionSample.draw(self.corpus, self.settings.sessions, self.settings.seed, model)


def diagnose_version(
    store: EmbeddingStore,
    number: int | None = None,
    *,
    against: int | None = None,
    sources: Sources | None = None,
    progress: Progress = silent,
) -> Diagnosis:
    """Diagnose a version of a store.

    Args:
        number: the version; None for the live one.
        against: an earlier version, which it is compared with.

    Raises:
        NotFound, InvalidData: a version or its model is missing or damaged, or it was removed meanwhile.
        Conflict: both numbers are the same.
    """
    sources = sources or Sources()
    number = live_number(store) if number is None else number
    if against == number:
        raise Conflict(f"version {number} cannot be compared with itself; choose another version")
    with ExitStack() as stack:
        space = stack.enter_context(VersionSpace.open(store, number, sources.device))
        before = None
        if against is not None:
            before = stack.enter_context(VersionSpace.open(store, against, sources.device, space.embedder))
        with _removal_named(store, [one for one in (number, against) if one is not None]):
            sections = tuple(_version_sections(space, before, sources, progress))
    versions = f"version {number}" if against is None else f"version {number} against {against}"
    subject = {"kind": "version", "name": f"{store.uri}, {versions}", "store": store.uri, "version": number}
    subject |= {"against": against, "model_id": space.embedder.model_id}
    numbers = [number] if against is None else [number, against]
    return _diagnosis(subject, sections, (*_missing(sources, against is None), *_revisions(store, numbers)))


def diagnose_models(folders: Sequence[str | Path], sources: Sources, progress: Progress = silent) -> Diagnosis:
    """Diagnose a model on the products and sessions of a corpus; further models are compared with it in a plane.

    Raises:
        NotFound, InvalidData, Conflict: a model is missing, damaged, fine-tuned for something else than next items, or
            given twice.
        ValueError: no corpus, or no model.
    """
    if sources.corpus is None or not folders:
        raise ValueError("a model is diagnosed on a corpus: give both")
    names = _names(folders)
    models = [open_model(folder) for folder in folders]
    spaces = [_embed(*named, sources.corpus, sources, progress) for named in zip(names, models, strict=True)]
    sample = sources.session_sample(models[0])
    alignment, sample = _align(spaces, sample, sources, progress)
    sections = (alignment, *_space_sections(spaces[0], None, sample, sources, progress))
    subject = {"kind": "model", "name": f"model {', '.join(names)}", "models": names, "model_id": models[0].model_id}
    return _diagnosis(subject, sections)


def diagnose_run(folder: str | Path, progress: Progress = silent) -> Diagnosis:
    """Diagnose a training run from the folder `OUT.training` while it trains, or from the model's folder.

    Raises:
        NotFound, InvalidData: it holds no training run, or a damaged one.
    """
    section = run_section(Path(folder), progress)
    return _diagnosis({"kind": "run", "name": f"run {folder}", "folder": str(folder)}, (section,))


@contextmanager
def _removal_named(store: EmbeddingStore, numbers: Sequence[int]) -> Iterator[None]:
    """Say of an error that is due to the removal of a version, such as by the refresh that published a newer one."""
    try:
        yield
    except UbmError:
        for number in {*numbers} - {*version_numbers(store)}:
            tag = f"ubm-embed versions tag NAME {number} --store {shlex.quote(store.uri)}"
            problem = f"version {number} of {store.uri} was removed while it was diagnosed; one with a tag stays: {tag}"
            raise NotFound(problem) from None
        raise


def _version_sections(
    space: VersionSpace, before: VersionSpace | None, sources: Sources, progress: Progress
) -> Iterator[Section]:
    with space.store.storage.open_folder(model_folder(space.embedder.model_id)) as folder:
        sample = sources.session_sample(ModelFolder.open(folder, model_id=space.embedder.model_id))
    spaces = [space] if before is None else [space, before]
    yield integrity_section(space, sources.settings, progress)
    alignment, sample = _align(spaces, sample, sources, progress)
    yield alignment
    yield from _space_sections(space, space.opened.index, sample, sources, progress)
    if before is not None:
        yield changes_section(before, space, sample, sources.settings, progress, refresh=sources.refresh)
    yield timeline_section(space.store)


def _align(
    spaces: Sequence[Space], sample: SessionSample | None, sources: Sources, progress: Progress
) -> tuple[Section, SessionSample | None]:
    """Section "alignment", and the sample, unless the model is damaged: vectors that are not finite have no nearest."""
    section = alignment_section(spaces, sample, sources.settings, progress)
    is_damaged = any(finding.fault is Fault.INVALID_VECTORS for finding in section.findings)
    return section, None if is_damaged else sample


def _space_sections(
    space: Space,
    index: VectorIndex | None,
    sample: SessionSample | None,
    sources: Sources,
    progress: Progress,
) -> Iterator[Section]:
    """What a version and a model have in common."""
    settings = sources.settings
    yield space_section(space, settings, progress)
    if sample is not None:
        yield answers_section(space, index, sample, settings, progress)
    if sources.corpus is not None and sources.heads:
        yield calibration_section(sources.heads, sources.corpus, settings, progress, device=sources.device)
    if sources.map_method is not None:
        yield map_section(space, sample, settings, sources.map_method, progress)


def _embed(name: str, model: ModelFolder, corpus: Corpus, sources: Sources, progress: Progress) -> ModelSpace:
    settings = sources.settings
    embedder = Embedder(model, device=sources.device)
    return ModelSpace.embed(
        name, embedder, corpus, max_products=settings.embedded, seed=settings.seed, progress=progress
    )


def _missing(sources: Sources, alone: bool) -> Iterator[str]:
    if sources.corpus is None:
        yield "without --corpus, sessions and answers were not looked at"
    elif not sources.heads:
        yield "without --purchase-intention or --remaining-length, no predictions were looked at"
    if alone:
        yield "without --against, nothing is said about what moved"


def _revisions(store: EmbeddingStore, numbers: Sequence[int]) -> Iterator[str]:
    """Which changes the figures leave out: vectors and texts are those of the files of a version."""
    for number, revision in read_live(store).revisions.items():
        if number in numbers and revision.segments:
            label = version_label(number, revision)
            yield f"the changes of revision {label} were not looked at; the next refresh makes them part of a version"


def _names(folders: Sequence[str | Path]) -> list[str]:
    """The folders' own names, or their paths where two have the same name."""
    twice = next((folder for number, folder in enumerate(folders) if folder in folders[:number]), None)
    if twice is not None:
        raise Conflict(f"model {twice} is given twice; choose another one to compare it with")
    names = [Path(folder).resolve().name for folder in folders]
    return names if len({*names}) == len(names) else [str(folder) for folder in folders]


def _diagnosis(subject: Mapping[str, Any], sections: tuple[Section, ...], notes: Iterable[str] = ()) -> Diagnosis:
    created = datetime.now(UTC).isoformat(timespec="seconds")
    return Diagnosis(subject=subject, created=created, software=software(), sections=sections, notes=tuple(notes))
