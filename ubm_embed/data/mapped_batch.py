"""An Arrow file of one batch whose lists are mapped, so that opening it costs nothing and the file may be removed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from ubm_embed.errors import InvalidData


def read_mapped_batch(file: Path, schema: pa.Schema, what: str) -> tuple[pa.RecordBatch, dict[bytes, bytes]]:
    """The only batch of a file, mapped, and the metadata of its schema.

    Args:
        schema: what the file must have, metadata aside.
        what: the file is of, in messages.

    Raises:
        InvalidData: the file is missing, truncated, damaged or of another kind.
    """
    try:
        reader = pa.ipc.open_file(pa.memory_map(str(file)))
        if not reader.schema.equals(schema) or reader.num_record_batches != 1:
            raise damaged(file, what, f"it has other columns than {what} have")
        batch = reader.get_batch(0)
        batch.validate(full=True)  # Arrow trusts what it maps, and would read outside of it
    except FileNotFoundError:
        raise InvalidData("missing; the store is damaged", file=file) from None
    except (pa.ArrowException, OSError, ValueError) as error:
        raise damaged(file, what, str(error).partition("\n")[0]) from None
    return batch, dict(reader.schema.metadata or {})


def list_offsets(lists: pa.Array) -> NDArray[np.int64]:
    """Where each large list begins and ends, without a copy: [K + 1]."""
    return np.frombuffer(lists.buffers()[1] or bytes(8), np.int64, len(lists) + 1)


def damaged(file: Path, what: str, why: str) -> InvalidData:
    """The error that says so."""
    return InvalidData(f"truncated or damaged, or not a file of {what}: {why}", file=file)
