"""Which number format a context computes in."""

import pytest
import torch

from ubm_embed.model.device import autocast, choose_device, computes_bfloat16

CPU = torch.device("cpu")
CAPABILITIES = "torch.cpu.get_capabilities"
KERNELS = "torch.backends.cpu.get_cpu_capability"


def dtype_within(precision):
    with autocast(CPU, precision):
        return (torch.ones(2, 2) @ torch.ones(2, 2)).dtype


def test_a_named_precision_is_the_one_computed_in():
    assert dtype_within("float32") == torch.float32
    assert dtype_within("bfloat16") == torch.bfloat16


@pytest.mark.parametrize("capability", ["avx512_bf16", "amx_bf16", "sve_bf16", None])
def test_auto_is_bfloat16_only_where_the_cpu_has_it(monkeypatch, capability):
    monkeypatch.setattr(CAPABILITIES, lambda: {"avx512": True} | ({capability: True} if capability else {}))
    monkeypatch.setattr(KERNELS, lambda: "AVX512")
    assert computes_bfloat16(CPU) is (capability is not None)
    assert dtype_within("auto") == (torch.bfloat16 if capability else torch.float32)


@pytest.mark.parametrize("capability", ["avx512_bf16", "amx_bf16"])
def test_a_torch_that_is_kept_to_older_instructions_has_no_bfloat16(monkeypatch, capability):
    monkeypatch.setattr(CAPABILITIES, lambda: {capability: True})
    monkeypatch.setattr(KERNELS, lambda: "AVX2")
    assert not computes_bfloat16(CPU)


def test_an_unknown_precision_is_named():
    with pytest.raises(ValueError, match="precision must be one of auto, float32, bfloat16, got 'float16'"):
        autocast(CPU, "float16")


def test_a_device_by_name(monkeypatch):
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    for available, expected in ((True, "cuda"), (False, "cpu")):
        monkeypatch.setattr("torch.cuda.is_available", lambda found=available: found)
        assert choose_device("auto") == torch.device(expected)
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    assert choose_device("cuda:1") == torch.device("cuda", 1)


@pytest.mark.parametrize("name", ["abacus", "meta", "cuda:9", "cuda", "cpu:x"])
def test_a_device_that_this_machine_lacks(monkeypatch, name):
    monkeypatch.setattr("torch.cuda.is_available", lambda: name == "cuda:9")
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    with pytest.raises(ValueError, match=name.split(":")[0]):
        choose_device(name)
