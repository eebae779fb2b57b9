"""The precisions to choose from. Light, so that the command line can name them without torch."""

from __future__ import annotations

import enum


class Precision(enum.StrEnum):
    """The number format that the work is computed in; `ubm_embed.model.device` puts it to use."""

    AUTO = "auto"
    """bfloat16 where the hardware computes in it, else float32."""
    FLOAT32 = "float32"
    BFLOAT16 = "bfloat16"
