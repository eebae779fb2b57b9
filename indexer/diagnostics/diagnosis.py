"""A version of a store, models or a training run, diagnosed: opens what is looked at and puts the sections together."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from indexer.diagnostics.maps.maps import map_section
from indexer.diagnostics.maps.projection import MapMethod
from indexer.diagnostics.report import Diagnosis, Section
from indexer.diagnostics.session_sample import SessionSample
from indexer.diagnostics.settings import DiagnosisSettings
from indexer.diagnostics.space import ModelSpace, VersionSpace
from indexer.refresh.publication import software
from indexer.store.embedding_store import EmbeddingStore
from indexer.versions.live import live_number
from ubm_embed.data.corpus import Corpus
from ubm_embed.errors import Conflict
from ubm_embed.inference.embedder import Embedder
from ubm_embed.inference.predictor import Predictor
from ubm_embed.progress import Progress, silent


@dataclass(frozen=True, kw_only=True)
class Sources:
    """What a diagnosis reads beside vectors, and how much of it.

    Attributes:
        corpus: sessions and products; without it there are no sections about sessions and answers.
        predictors: models with a head, whose calibration is measured on the corpus.
        map_method: of the maps; None for no maps.
    """

    corpus: Corpus | None = None
    predictors: Sequence[Predictor] = ()
    settings: DiagnosisSettings = field(default_factory=DiagnosisSettings)
    map_method: MapMethod | None = None

    def session_sample(self) -> SessionSample | None:
        """Sessions of the corpus, if there is one."""
        if self.corpus is None:
            return None
        return SessionSample.draw(self.corpus, self.settings.sessions, self.settings.seed)


def diagnose_version(
    store: EmbeddingStore,
    number: int | None = None,
    *,
    against: int | None = None,
    sources: Sources | None = None,
    device: str = "auto",
    progress: Progress = silent,
) -> Diagnosis:
    """Diagnose a version of a store.

    Args:
        number: the version; None for the live one.
        against: an earlier version, which it is compared with.

    Raises:
        NotFound, InvalidData: a version or its model is missing or damaged.
        Conflict: both numbers are the same.
    """
    sources = sources or Sources()
    number = live_number(store) if number is None else number
    if against == number:
        raise Conflict(f"version {number} cannot be compared with itself; choose another version")
    with ExitStack() as stack:
        space = stack.enter_context(VersionSpace.open(store, number, device))
        before = against and stack.enter_context(VersionSpace.open(store, against, device, space.embedder))
        sections = tuple(_version_sections(space, before or None, sources, progress))
        model_id = space.embedder.model_id
    versions = f"version {number}" if against is None else f"version {number} against {against}"
    subject = {"kind": "version", "name": f"{store.uri}, {versions}", "store": store.uri, "version": number}
    subject |= {"against": against, "model_id": model_id}
    return _diagnosis(subject, sections, _missing(sources, against=against is not None))


def diagnose_models(
    folders: Sequence[str | Path], sources: Sources, *, device: str = "auto", progress: Progress = silent
) -> Diagnosis:
    """Diagnose a model on the products and sessions of a corpus; further ones are compared with it in a plane.

    Raises:
        NotFound, InvalidData: a model is missing or damaged.
        ValueError: no corpus, or no model.
    """
    if sources.corpus is None or not folders:
        raise ValueError("a model is diagnosed on a corpus: give both")
    settings = sources.settings
    names = _names(folders)
    spaces = [
        ModelSpace.embed(
            name,
            Embedder.from_pretrained(folder, device=device),
            sources.corpus,
            max_products=settings.embedded,
            seed=settings.seed,
            progress=progress,
        )
        for name, folder in zip(names, folders, strict=True)
    ]
    sections = tuple(_model_sections(spaces, sources, progress))
    subject = {"kind": "model", "name": f"model {names[0]}", "models": names, "model_id": spaces[0].embedder.model_id}
    return _diagnosis(subject, sections)


def diagnose_run(folder: str | Path) -> Diagnosis:
    """Diagnose a training run from the folder `OUT.training` while it trains, or from the model's folder.

    Raises:
        NotFound, InvalidData: it holds no training run, or a damaged one.
    """
    return _diagnosis({"kind": "run", "name": f"run {folder}", "folder": str(folder)}, ())


def _version_sections(
    space: VersionSpace, before: VersionSpace | None, sources: Sources, progress: Progress
) -> Iterator[Section]:
    sample = sources.session_sample()
    if sources.map_method is not None:
        yield map_section(space, sample, sources.settings, sources.map_method, progress)


def _model_sections(spaces: Sequence[ModelSpace], sources: Sources, progress: Progress) -> Iterator[Section]:
    sample = sources.session_sample()
    if sources.map_method is not None:
        yield map_section(spaces[0], sample, sources.settings, sources.map_method, progress)


def _missing(sources: Sources, *, against: bool) -> Iterator[str]:
    if sources.corpus is None:
        yield "sessions and answers were not looked at: give a corpus"
    if not against:
        yield "the version was compared with no other: give one with --against"


def _names(folders: Sequence[str | Path]) -> list[str]:
    """The folders' own names, or their paths where two have the same name."""
    names = [Path(folder).resolve().name for folder in folders]
    return names if len({*names}) == len(names) else [str(folder) for folder in folders]


def _diagnosis(subject: Mapping[str, Any], sections: tuple[Section, ...], notes: Iterable[str] = ()) -> Diagnosis:
    created = datetime.now(UTC).isoformat(timespec="seconds")
    return Diagnosis(subject=subject, created=created, software=software(), sections=sections, notes=tuple(notes))
