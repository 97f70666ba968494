"""The engines that need torch: the arithmetic of ToTensor and Normalize, precisions, stored types, devices."""

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn
from torchvision import transforms

from featx.backbones import load_backbone
from featx.errors import EngineError, ParameterError
from featx.extraction import (
    CompiledEngine,
    CudaEngine,
    TorchEngine,
    load_engine,
    plan_outputs,
    resolve_device,
    resolve_precision,
)
from featx.spec import Preprocessing
from tests.extraction.networks import Peeks, Small, assert_same, pixels, plainly
from tests.tiny import BACKBONE, TinyNet, tiny_net

PIXELS = np.random.default_rng(0).integers(0, 256, (32, 32, 32, 3), dtype=np.uint8)


def engine(backbone=None, **options):
    backbone = backbone or load_backbone(BACKBONE)
    return TorchEngine(backbone, plan_outputs(backbone, **options))


def test_pixels_are_scaled_as_totensor_and_normalize_do():
    class Same(nn.Identity):
        preprocessing = Preprocessing(crop_size=(256, 1), resize_size=(256, 1), resize="squash")

    backbone = load_backbone(Same())
    every = np.repeat(np.arange(256, dtype=np.uint8)[:, None, None], 3, 2)
    (got,) = engine(backbone, pool="none")(every[None])
    transform = transforms.Compose(
        [transforms.ToTensor(), transforms.Normalize(Same.preprocessing.mean, Same.preprocessing.std)]
    )
    expected = transform(Image.fromarray(every)).permute(1, 2, 0).numpy()
    np.testing.assert_array_equal(got[0], expected)


def test_features_equal_plain_torch():
    network = tiny_net().eval()
    mean, std = (
        torch.tensor(values).view(3, 1, 1) for values in (network.preprocessing.mean, network.preprocessing.std)
    )
    with torch.no_grad():
        images = (torch.from_numpy(PIXELS).permute(0, 3, 1, 2) / 255 - mean) / std
        relu = network.norm(network.conv1(images)).relu()
        expected = {
            "relu": relu.mean((2, 3)),
            "relu_1": network.conv2(relu).relu().mean((2, 3)),
            "output": network(images),
        }
    before = TinyNet.forwards
    run = engine(layers=["output", "relu_1", "relu"])
    got = dict(zip(["output", "relu_1", "relu"], run(PIXELS), strict=True))
    assert TinyNet.forwards == before + 1
    for name, value in expected.items():
        np.testing.assert_allclose(got[name], value.numpy(), rtol=1e-5, atol=1e-6, err_msg=name)


@pytest.mark.parametrize("batch_size", [1, 3, 32])
def test_the_batch_size_does_not_matter(batch_size):
    run = engine()
    whole = run(PIXELS)[0]
    parts = np.concatenate([run(PIXELS[i : i + batch_size])[0] for i in range(0, 32, batch_size)])
    assert np.abs(whole).max() > 0.1
    np.testing.assert_allclose(parts, whole, rtol=1e-5, atol=1e-6)


def test_the_same_batch_gives_the_same_bits():
    run = engine()
    np.testing.assert_array_equal(run(PIXELS)[0], run(PIXELS)[0])


def test_bfloat16_is_near_and_another():
    full, half = engine(layers=["relu_1"])(PIXELS)[0], engine(layers=["relu_1"], precision="bf16")(PIXELS)[0]
    assert half.dtype == np.float32
    error = np.abs(half - full).max() / np.abs(full).max()
    assert 0 < error < 2e-2


def test_float16_is_the_float32_rounded():
    full, stored = engine()(PIXELS)[0], engine(dtype="float16")(PIXELS)[0]
    assert (full.dtype, stored.dtype) == (np.float32, np.float16)
    np.testing.assert_array_equal(stored, full.astype(np.float16))


def test_pooling_is_done_in_float32():
    """The mean of a map in half precision would lose what the mean of many places gains."""
    (pooled,) = engine(layers=["relu"], precision="bf16")(PIXELS)
    (places,) = engine(layers=["relu"], pool="none", precision="bf16")(PIXELS)
    np.testing.assert_allclose(pooled, places.mean((1, 2), dtype=np.float64), rtol=1e-6, atol=1e-7)


def test_features_are_arrays_of_their_own():
    for features in engine(layers=["relu", "conv1", "fc"], pool="flatten")(PIXELS[:2]):
        assert features.flags.c_contiguous
        assert features.flags.owndata or features.base is not None


def test_two_engines_on_one_backbone():
    backbone = load_backbone(BACKBONE)
    early, late = engine(backbone, layers=["relu"]), engine(backbone, layers=["fc"])
    alone_early, alone_late = engine(layers=["relu"])(PIXELS)[0], engine(layers=["fc"])(PIXELS)[0]
    for _ in range(2):
        np.testing.assert_array_equal(late(PIXELS)[0], alone_late)
        np.testing.assert_array_equal(early(PIXELS)[0], alone_early)


def test_group_norm_keeps_its_digits():
    """In channels-last memory torch is wrong by 5e-3 here."""

    class Grouped(nn.Module):
        preprocessing = Preprocessing(crop_size=(56, 56), resize_size=(56, 56), mean=(-20, -20, -20), std=(1, 1, 1))

        def __init__(self):
            super().__init__()
            self.norm = nn.GroupNorm(1, 3)

        def forward(self, x):
            return self.norm(x).amax((2, 3))

    pixels = np.random.default_rng(0).integers(0, 256, (4, 56, 56, 3), dtype=np.uint8)
    (got,) = engine(load_backbone(Grouped()))(pixels)
    images = pixels.astype(np.float64) / 255
    expected = (images - images.mean((1, 2, 3), keepdims=True)).max((1, 2))
    expected /= np.sqrt(images.var((1, 2, 3)) + 1e-5)[:, None]
    assert np.abs(got - expected).max() < 1e-4 * expected.max()


def test_one_image_of_nan_does_not_reach_the_others():
    class Divides(nn.Module):
        preprocessing = Preprocessing(crop_size=(8, 8), resize_size=(8, 8), mean=(0, 0, 0), std=(1, 1, 1))

        def forward(self, x):
            total = x.sum((2, 3))
            return total / total

    pixels = np.ones((4, 8, 8, 3), dtype=np.uint8)
    pixels[2] = 0
    (got,) = engine(load_backbone(Divides()))(pixels)
    assert np.isnan(got).all(1).tolist() == [False, False, True, False]
    assert (got[[0, 1, 3]] == 1).all()


def test_a_batch_of_images():
    run = engine(layers=["relu", "fc"])
    run.load()
    with ThreadPoolExecutor(1) as pool:
        wait = run.start(list(PIXELS[:5]), pool.submit)
    for got, expected in zip(wait(), run(PIXELS[:5]), strict=True):
        np.testing.assert_array_equal(got, expected)


@pytest.fixture(scope="module")
def compiled():
    before = torch._inductor.config.freezing, torch._inductor.config.compile_threads
    backbone = load_backbone(Small())
    digest = backbone.weights
    outputs = [
        *plan_outputs(backbone, layers=["relu"], pool="none"),
        *plan_outputs(backbone, layers=["fc.input"], dtype="float16"),
    ]
    run = load_engine("compile", backbone, outputs, device="cpu")
    assert (torch._inductor.config.freezing, torch._inductor.config.compile_threads) == before
    assert load_backbone(backbone.network).weights == digest
    return run


@pytest.mark.parametrize("n", [1, 7, 8, 17])
def test_compiled(compiled, n):
    assert (compiled.name, compiled.device, compiled.resizes) == ("compile", "cpu", False)
    compiled.load()
    expected = plainly(Small(), pixels(n))
    maps, vectors = compiled.start(list(pixels(n)), None)()
    assert_same(maps, expected["relu"])
    assert vectors.dtype == np.float16
    assert_same(vectors.astype(np.float32), expected["fc.input"])
    assert maps.flags.c_contiguous


def test_a_gpu_has_an_engine_of_its_own():
    backbone = load_backbone(Small())
    for name in ("torch", "compile"):
        engine = load_engine(name, backbone, plan_outputs(backbone), device="cuda:3")  # it goes there when it is loaded
        assert (type(engine), engine.name, engine.device) == (CudaEngine, name, "cuda:3")
    assert type(load_engine("torch", backbone, plan_outputs(backbone), device="cpu")) is TorchEngine


def test_what_cannot_be_compiled(monkeypatch):
    backbone = load_backbone(Peeks())
    with pytest.raises(EngineError, match=r"^torch\.export cannot capture the network \(.*\): use engine torch$"):
        CompiledEngine(backbone, plan_outputs(backbone))
    backbone = load_backbone(Small())
    with pytest.raises(EngineError, match="engine 'compile' computes in precision fp32; got precision 'bf16'"):
        CompiledEngine(backbone, plan_outputs(backbone, precision="bf16"))

    def broken(*arguments, **options):
        raise RuntimeError("no such operator\nand a long tale")

    monkeypatch.setattr(torch, "compile", broken)
    with pytest.raises(EngineError, match=r"cannot compile .*Small \(no such operator\): use engine torch$"):
        CompiledEngine(backbone, plan_outputs(backbone))
    monkeypatch.setattr(torch, "compile", lambda module, **_: lambda x: tuple(2 * rows for rows in module(x)))
    with pytest.raises(EngineError, match=r"the compiled .*Small gives other features than torch"):
        CompiledEngine(backbone, plan_outputs(backbone))


@pytest.mark.slow
def test_without_a_compiler(tmp_path):
    script = """
from featx.backbones import load_backbone
from featx.extraction import CompiledEngine, plan_outputs
from tests.extraction.networks import Small
backbone = load_backbone(Small())
try:
    CompiledEngine(backbone, plan_outputs(backbone))
except Exception as error:
    print(type(error).__name__, error)
"""
    environment = {key: value for key, value in os.environ.items() if key not in ("CC", "CXX")}
    environment |= {"PATH": "", "TORCHINDUCTOR_CACHE_DIR": str(tmp_path)}
    answer = subprocess.run(
        [sys.executable, "-c", script], env=environment, capture_output=True, text=True, timeout=120, check=False
    )
    assert (answer.stdout, answer.stderr) == (
        "EngineError engine 'compile' needs a C++ compiler, and finds none: install g++ or clang, or use engine"
        " onnxruntime or torch\n",
        "",
    )


def test_devices(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    assert resolve_device("auto") == resolve_device("cpu") == "cpu"
    with pytest.raises(ParameterError, match=r"device 'cuda' is not there: torch .* sees 0 GPUs"):
        resolve_device("cuda")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert (resolve_device("auto"), resolve_device("cuda"), resolve_device("cuda:1")) == ("cuda", "cuda", "cuda:1")
    with pytest.raises(ParameterError, match=r"device 'cuda:2' is not there: torch .* sees 2 GPUs"):
        resolve_device("cuda:2")


@pytest.mark.parametrize("device", ["", "gpu", "cuda:x", "cuda:-1", "cuda:²", "mps", "CPU"])
def test_what_is_no_device(device):
    with pytest.raises(ParameterError, match="device must be auto, cpu, cuda or cuda:N"):
        resolve_device(device)


def test_precisions(monkeypatch):
    assert resolve_precision("auto", "cpu") == "fp32"
    assert resolve_precision("bf16", "cpu") == "bf16"
    for supported, expected in ((True, "bf16"), (False, "fp32")):
        monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda supported=supported: supported)
        assert resolve_precision("auto", "cuda:0") == expected
