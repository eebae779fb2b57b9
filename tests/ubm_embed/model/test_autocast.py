"""Which number format a context computes in."""

import pytest
import torch

from ubm_embed.model.autocast import autocast, computes_bfloat16

CPU = torch.device("cpu")
CAPABILITIES = "torch.cpu.get_capabilities"


def dtype_within(precision):
    with autocast(CPU, precision):
        return (torch.ones(2, 2) @ torch.ones(2, 2)).dtype


def test_a_named_precision_is_the_one_computed_in():
    assert dtype_within("float32") == torch.float32
    assert dtype_within("bfloat16") == torch.bfloat16


@pytest.mark.parametrize("capability", ["avx512_bf16", "amx_bf16", "sve_bf16", None])
def test_auto_is_bfloat16_only_where_the_cpu_has_it(monkeypatch, capability):
    monkeypatch.setattr(CAPABILITIES, lambda: {"avx512": True} | ({capability: True} if capability else {}))
    assert computes_bfloat16(CPU) is (capability is not None)
    assert dtype_within("auto") == (torch.bfloat16 if capability else torch.float32)


def test_an_unknown_precision_is_named():
    with pytest.raises(ValueError, match="precision must be one of auto, float32, bfloat16, got 'float16'"):
        autocast(CPU, "float16")
