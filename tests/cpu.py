"""What a test asks of the CPU."""

import pytest
import torch

from ubm_embed.model.device import computes_bfloat16

# PyTorch's attention over many positions refuses bfloat16 where the CPU does not compute in it; then nothing here does.
in_bfloat16 = pytest.mark.skipif(not computes_bfloat16(torch.device("cpu")), reason="this CPU has no bfloat16")
