"""Settings of a refresh, from code or from a TOML file.

shard_rows = 20000

[gates]
max_lost = 0.2

[keep]
versions = 2

[index]
kind = "auto"
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any, TypeVar

import pydantic
from pydantic import Field

from indexer.index.index_request import IndexRequest
from indexer.versions.pruning import KeepPolicy
from ubm_embed.errors import InvalidData
from ubm_embed.validation import FrozenModel, invalid_data, read_toml

_Share = Annotated[float, Field(ge=0, le=1)]
_Model = TypeVar("_Model", bound=FrozenModel)

# Keys of earlier versions.
_RENAMED = {
    "most_lost": "max_lost",
    "least_recall": "min_recall",
    "least_overlap": "min_overlap",
    "least_overlap_of_another_model": "min_overlap_of_another_model",
    "most_shift": "max_shift",
    "most_uniformity": "max_uniformity",
}


class GateLimits(FrozenModel):
    """The limit of each gate.

    Attributes:
        max_lost: share of the live version's products that a catalogue may lack.
        min_recall: recall@10 of the index against exact search.
        min_overlap: share of the ten nearest of the live version that must still be among them, with the same model.
        min_overlap_of_another_model: the same if a new model takes over; it only has to stop garbage.
        max_shift: distance that the mean vector may move, with the same model. (Two models' vectors are not
            comparable.)
        max_uniformity: 0 means that all vectors are alike, as from a collapsed model; a trained model is below -1.

    Raises:
        ValueError: a limit outside its range.
    """

    max_lost: _Share = 0.2
    min_recall: _Share = 0.99
    min_overlap: _Share = 0.5
    min_overlap_of_another_model: _Share = 0.05
    max_shift: Annotated[float, Field(ge=0, le=2)] = 0.1
    max_uniformity: Annotated[float, Field(le=0)] = -0.01


class RayWorkers(FrozenModel):
    """The workers that encode on a Ray cluster, and what each is given.

    Attributes:
        workers: their maximum number; None is as many as the cluster has room for.
        cpus: CPUs of each worker, which runs as many threads.
        gpus: GPUs of each worker, which runs on a GPU if it is given at least a part of one; 0.5 lets two share one.
            None is 1, but 0 if the job's device is the CPU, or is "auto" and the cluster has no GPU.

    Raises:
        ValueError: fewer than one worker, fewer than one CPU each, or a negative number of GPUs.
    """

    workers: Annotated[int, Field(ge=1)] | None = None
    cpus: Annotated[int, Field(ge=1)] = 1
    gpus: Annotated[float, Field(ge=0)] | None = None


class RefreshSettings(FrozenModel):
    """Settings of a build or a refresh.

    Attributes:
        shard_rows: products that are encoded and written at once, the unit in which an interrupted refresh resumes.
            Beyond 20 million products set it to a thousandth of them: a table of many small files is slow.
        gate_queries: products that are searched for to tune the index and to measure the gates.
        gates: limits of the checks before publishing.
        keep: which old versions stay.
        ray: the workers, if Ray encodes.
        index: the index to build and its targets; None is the request of the live version.
        max_patch_share: share of the products whose columns may differ from the version whose files are shared; beyond
            it, a refresh that changes no text writes files of its own, too.
        retrain_every: versions for which the lists of an index are kept up before it is trained anew.

    Raises:
        ValueError: a value outside its range.
    """

    shard_rows: Annotated[int, Field(ge=1)] = 20_000
    gate_queries: Annotated[int, Field(ge=1)] = 200
    gates: GateLimits = GateLimits()
    keep: KeepPolicy = KeepPolicy()
    ray: RayWorkers = RayWorkers()
    index: IndexRequest | None = None
    max_patch_share: _Share = 0.2
    retrain_every: Annotated[int, Field(ge=1)] = 30

    @classmethod
    def read(cls, file: str | Path) -> RefreshSettings:
        """The settings of a TOML file; what it leaves out has its default.

        Raises:
            NotFound: no such file.
            InvalidData: names the file and the field: not TOML, an unknown field, or a value outside its range.
        """
        document = read_toml(file)
        document.pop("updates", None)  # the limits of `indexer.updates`, which reads them from the same file
        section = document.pop("index", None)
        settings = _validated(cls, document, file)
        if section is None:
            return settings
        index = _validated(_IndexSection, section, file, "index").request(file)
        return settings.model_copy(update={"index": index})


class _IndexSection(FrozenModel):
    """The section [index], whose `kind` is the option `--index`."""

    kind: str | None = None
    recall: float | None = None
    latency_ms: float | None = None
    memory_gb: float | None = None

    def request(self, file: str | Path) -> IndexRequest:
        try:
            return IndexRequest(
                index=self.kind, recall=self.recall, latency_ms=self.latency_ms, memory_gb=self.memory_gb
            )
        except ValueError as error:
            problem = str(error).replace("index must", "kind must")
            raise InvalidData(problem, file=file, field=f"index.{problem.split()[0]}") from None


def _validated(model: type[_Model], document: Any, file: str | Path, section: str = "") -> _Model:
    """A TOML table as a model; an error names the section, the field in it and what was expected."""
    try:
        # By way of JSON, since a strict model takes nested tables from JSON only.
        return model.model_validate_json(json.dumps(document, default=str))
    except pydantic.ValidationError as error:
        first, fault = error.errors()[0], invalid_data(error, file=file)
        field, problem = ".".join(filter(None, (section, fault.field))), fault.problem
        if first["type"] == "extra_forbidden":
            table: Any = model if len(first["loc"]) == 1 else model.model_fields[str(first["loc"][0])].annotation
            renamed = _RENAMED.get(str(first["loc"][-1]))
            expected = f"unknown; expected one of {', '.join(sorted(table.model_fields))}"
            problem = f"was renamed to {renamed}" if renamed in table.model_fields else expected
        elif first["type"] == "model_type":
            problem = f"must be a section [{field}], got {first['input']!r}"
        raise InvalidData(problem, file=file, field=field) from None
