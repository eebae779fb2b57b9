"""What is wrong with a version's parts, judged by their measurements."""

from __future__ import annotations

import shlex
from collections.abc import Iterator

import numpy as np

from indexer.diagnostics.finding import Fault, Finding, Severity
from indexer.diagnostics.integrity.index_vectors import IndexVectors
from indexer.diagnostics.integrity.measurements import Measurements
from indexer.diagnostics.integrity.stored_vectors import StoredVectors
from indexer.diagnostics.space import VersionSpace, title_of
from indexer.health.model_files import require_sound_model
from indexer.index.vector_index import INDEX_FILE
from indexer.search.canaries import MIN_COSINE, CanaryCheck
from indexer.store.embedding_store import EmbeddingStore, version_folder
from indexer.versions.version import StoreVersion
from ubm_embed.errors import UbmError
from ubm_embed.evaluation.proportions import wilson_interval
from ubm_embed.wording import counted, percent, visible

SECTION = "integrity"
# A sound version has no stale vector, so a single one is worth a warning. From a twentieth of the catalogue on, every
# list of ten matches has one or is likely to lack one.
_MANY = 0.05
# Where hardly a vector is that of its text, it is not the texts that changed.
_NEARLY_ALL = 0.9
# The published recall was measured with other queries; an index that finds less than this below it has lost vectors.
_MAX_LOSS = 0.05


def judge(space: VersionSpace, measured: Measurements) -> list[Finding]:
    """The faults of a version's parts. Matches that differ because of one of them are not named again."""
    findings = [*_index_faults(space, measured), *_text_faults(space, measured)]
    check = measured.canaries
    if check is not None and check.has_changed and (not check.cosine >= MIN_COSINE or not findings):
        findings.append(_changed_answers(space, check))
    return findings


def _index_faults(space: VersionSpace, measured: Measurements) -> Iterator[Finding]:
    version, index = space.opened.version, measured.index
    folder = f"{space.store.uri}/{version_folder(version.files_version)}"
    remedy = (
        f"remove {folder}/{INDEX_FILE}, then build it again: `ubm-embed doctor --repair --store {_uri(space.store)}`"
    )
    if measured.rows != version.products:
        problem = f"the table has {measured.rows:,} rows, and {version.products:,} products are indexed"
        yield _error(Fault.FOREIGN_INDEX, problem, remedy)
    elif index.is_foreign.any():
        share = _share(int(index.is_foreign.sum()), index.is_foreign.size, version.products)
        yield _error(Fault.FOREIGN_INDEX, f"the index holds other vectors than the table for {share}", remedy)
    elif _finds_too_little(version, index):
        found = percent(float(index.is_found.mean()))
        problem = f"the index finds {found} of {index.is_found.size} products by their own vectors, with a published "
        yield _error(Fault.LOW_RECALL, f"{problem}recall of {percent(version.recall_at_10)}", remedy)


def _finds_too_little(version: StoreVersion, index: IndexVectors) -> bool:
    """Whether even the upper end of the share that it finds is below its recall."""
    return wilson_interval(int(index.is_found.sum()), index.is_found.size)[1] < version.recall_at_10 - _MAX_LOSS


def _text_faults(space: VersionSpace, measured: Measurements) -> Iterator[Finding]:
    texts = measured.texts
    if texts is None:
        return
    stale, total = texts.stale.size, texts.rows.size
    if measured.canaries is None and stale >= _NEARLY_ALL * total and (problem := _model_fault(space)):
        yield _error(Fault.CHANGED_ANSWERS, f"the model does not make the stored vectors: {problem}", _put_back(space))
        return
    if texts.found_at:
        yield _error(Fault.SWAPPED_VECTORS, _swapped_problem(space, texts), _encode_again(space.store))
    if stale:
        low, _ = wilson_interval(stale, total)
        severity = Severity.ERROR if low >= _MANY else Severity.WARNING
        share, example = _share(stale, total, measured.products), _name(space, int(texts.stale[0]))
        problem = f"{share} have a vector that is not of their text, such as {example}"
        yield Finding(Fault.STALE_VECTORS, severity, SECTION, problem, _encode_again(space.store))


def _swapped_problem(space: VersionSpace, texts: StoredVectors) -> str:
    row, at = next(iter(texts.found_at.items()))
    example = f"such as {_name(space, row)}, whose own is stored with {_name(space, at)}"
    share = _share(len(texts.found_at), texts.rows.size, len(space))
    return f"{share} have the vector of another product, {example}"


def _changed_answers(space: VersionSpace, check: CanaryCheck) -> Finding:
    severity = Severity.ERROR if check.is_unfit else Severity.WARNING
    fault = _model_fault(space)
    if fault is not None:
        return Finding(Fault.CHANGED_ANSWERS, severity, SECTION, f"{check.change}: {fault}", _put_back(space))
    install = "install what was there then, or " if check.environment_changes else ""
    remedy = f"{install}{_encode_again(space.store)}"
    return Finding(Fault.CHANGED_ANSWERS, severity, SECTION, check.problem, remedy)


def _model_fault(space: VersionSpace) -> str | None:
    """What is wrong with the files of the store's copy of the model; None if they are as they were."""
    try:
        require_sound_model(space.store, space.opened.version.model_id)
    except UbmError as error:
        return str(error)
    return None


def _put_back(space: VersionSpace) -> str:
    model_id = space.opened.version.model_id
    command = f"`ubm-embed refresh --model DIR --products FILE --store {_uri(space.store)}`"
    return f"put the model's files back: {command}, where DIR holds model {model_id}"


def _encode_again(store: EmbeddingStore) -> str:
    command = f"`ubm-embed build-index --model DIR --products FILE --store {_uri(store)}`"
    return f"encode all products again: {command}"


def _uri(store: EmbeddingStore) -> str:
    return shlex.quote(store.uri)


def _share(count: int, total: int, products: int) -> str:
    if total == products:
        return f"{count:,} of {counted(products, 'product')}"
    low, high = (percent(end) for end in wilson_interval(count, total))
    return f"{count:,} of {total:,} sampled products ({low} to {high} of all)"


def _name(space: VersionSpace, row: int) -> str:
    return repr(visible(title_of(space.products(np.array([row]))[0])))


def _error(fault: Fault, problem: str, remedy: str) -> Finding:
    return Finding(fault, Severity.ERROR, SECTION, problem, remedy)
