"""ONNX Runtime: the same features from an exported graph, without torch, and no graph that gives others."""

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch

import featx.extraction._export as export
from featx.backbones import load_backbone
from featx.errors import EngineError
from featx.extraction import OnnxEngine, TorchEngine, export_graph, graph_key, plan_outputs
from featx.extraction._onnx import seal
from featx.spec import ExtractionSpec, Preprocessing
from tests.extraction.networks import OneByOne, Peeks, Small, assert_same, images, pixels, plainly

POOLS = {
    "avg": lambda maps: maps.mean((1, 2)),
    "max": lambda maps: maps.max((1, 2)),
    "gem": lambda maps: (np.maximum(maps, 1e-6) ** 3).mean((1, 2)) ** (1 / 3),
    "flatten": lambda maps: maps.reshape(len(maps), -1),
    "none": lambda maps: maps,
}


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """Three layers, two of them of maps; relu in each of the poolings."""
    backbone = load_backbone(Small())
    outputs = list(plan_outputs(backbone, layers=["fc", "conv2"], pool=None))
    for pool in POOLS:
        outputs += plan_outputs(backbone, layers=["relu"], pool=pool)
    path = tmp_path_factory.mktemp("graphs") / "small.onnx"
    export_graph(backbone, outputs, path)
    return path, [output.spec for output in outputs]


@pytest.mark.parametrize("n", [1, 2, 3, 8, 17])
def test_layers_and_poolings_equal_plain_torch(exported, n):
    engine = OnnxEngine(*exported)
    assert (engine.name, engine.device, engine.resizes, engine.batch_size) == ("onnxruntime", "cpu", False, None)
    maps = plainly(Small(), pixels(n))
    expected = [maps["fc"], maps["conv2"].mean((1, 2)), *(pool(maps["relu"]) for pool in POOLS.values())]
    for spec, got, true in zip(exported[1], engine(pixels(n)), expected, strict=True):
        assert_same(got, true, message=f"{spec.layer} {spec.pool}")
        assert got.flags.c_contiguous


def test_stored_as_float16(exported):
    path, specs = exported
    full = OnnxEngine(path, specs)(pixels(3))
    mixed = OnnxEngine(path, [replace(specs[0], dtype="float16"), *specs[1:]])(pixels(3))
    assert [array.dtype for array in mixed[:2]] == [np.float16, np.float32]
    np.testing.assert_array_equal(mixed[0], full[0].astype(np.float16))
    np.testing.assert_array_equal(mixed[1], full[1])


def test_batches_at_the_same_time(exported):
    engine = OnnxEngine(*exported)
    engine.load()
    batches = [list(pixels(1 + i % 4, seed=i)) for i in range(24)]
    alone = [engine(np.stack(batch)) for batch in batches]
    with ThreadPoolExecutor(4) as pool:
        waiting = [engine.start(batch, pool.submit) for batch in batches]
        for wait, expected in zip(waiting, alone, strict=True):
            for mine, true in zip(wait(), expected, strict=True):
                np.testing.assert_array_equal(mine, true)


def test_a_failing_batch_says_so(exported):
    with ThreadPoolExecutor(1) as pool:
        wait = OnnxEngine(*exported).start([np.zeros((8, 8, 3), dtype=np.uint8)], pool.submit)
        with pytest.raises(EngineError, match="onnxruntime cannot compute a batch of 1 images"):
            wait()


def test_the_graph_needs_no_torch(exported):
    path, specs = exported
    script = f"""
import sys, numpy
from featx.extraction import OnnxEngine, graph_key
from featx.spec import ExtractionSpec
specs = [ExtractionSpec.from_json(text) for text in {[spec.to_json() for spec in specs]!r}]
assert graph_key(specs)
rows = OnnxEngine({str(path)!r}, specs)(numpy.zeros((2, 32, 32, 3), dtype=numpy.uint8))
assert len(rows[0]) == 2
print([name for name in ("torch", "onnx", "onnxscript", "timm") if name in sys.modules])
"""
    answer = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=False)
    assert (answer.stdout, answer.stderr) == ("[]\n", "")


def test_where_it_is_not_installed_it_is_said(exported, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(EngineError, match="engine onnxruntime is not installed: pip install onnxruntime, or use torch"):
        OnnxEngine(*exported)


def test_exporting_changes_and_prints_nothing(tmp_path, capfd):
    backbone = load_backbone(Small())
    digest = backbone.weights
    export_graph(backbone, plan_outputs(backbone), tmp_path / "small.onnx")
    assert load_backbone(backbone.network).weights == digest
    assert capfd.readouterr() == ("", "")
    assert [path.name for path in tmp_path.iterdir()] == ["small.onnx"]


def test_what_comes_after_the_layer_is_not_in_the_graph(tmp_path):
    import onnx

    backbone = load_backbone(Small())
    export_graph(backbone, plan_outputs(backbone, layers=["relu"]), tmp_path / "small.onnx")
    graph = onnx.load(tmp_path / "small.onnx").graph
    assert [node.op_type for node in graph.node].count("Conv") == 1
    assert max(np.prod(tensor.dims) for tensor in graph.initializer) == Small().conv1.weight.numel()


@pytest.fixture(scope="module")
def one_by_one(tmp_path_factory):
    backbone = load_backbone(OneByOne())
    outputs = plan_outputs(backbone, layers=["output"])
    path = tmp_path_factory.mktemp("graphs") / "one by one.onnx"
    export_graph(backbone, outputs, path)
    return OnnxEngine(path, [output.spec for output in outputs])


@pytest.mark.parametrize("n", [1, 3, 4, 5, 8, 9])
def test_a_graph_of_one_size_takes_any_number(one_by_one, n):
    assert one_by_one.batch_size == 4
    (got,) = one_by_one(pixels(n))
    assert_same(got, plainly(OneByOne(), pixels(n))["fc"])


def test_control_flow_cannot_be_captured(tmp_path):
    backbone = load_backbone(Peeks())
    with pytest.raises(EngineError, match=r"^torch\.export cannot capture the network \(.*\): use engine torch$"):
        export_graph(backbone, plan_outputs(backbone), tmp_path / "peeks.onnx")
    assert list(tmp_path.iterdir()) == []


def test_a_graph_with_other_features_is_refused(tmp_path, monkeypatch):
    right, wrong = load_backbone(Small()), load_backbone(Small(seed=1))
    outputs = plan_outputs(right)
    export_graph(wrong, plan_outputs(wrong), tmp_path / "wrong.onnx")
    graph = (tmp_path / "wrong.onnx").read_bytes()
    model = graph[: -len(seal(b""))]
    monkeypatch.setattr(export, "_serialised", lambda *_, **__: model)
    with pytest.raises(EngineError, match=r"the graph of .*Small gives other features than torch \(by .* use engine"):
        export_graph(right, outputs, tmp_path / "right.onnx")
    assert [path.name for path in tmp_path.iterdir()] == ["wrong.onnx"]
    with pytest.raises(EngineError, match="gives features of shape"):
        export_graph(right, plan_outputs(right, layers=["relu"]), tmp_path / "right.onnx")


def test_group_norm_is_right_or_refused(tmp_path):
    """ONNX Runtime 1.31 squares before it subtracts, as torch does in channels-last memory: wrong by 1e-2 here."""

    class Grouped(Small):
        def forward(self, x):
            return self.group(100 + self.conv1(x)).amax((2, 3))

    network = Grouped()
    network.group = torch.nn.GroupNorm(1, 8)
    backbone = load_backbone(network)
    outputs = plan_outputs(backbone)
    with torch.no_grad():
        maps = 100 + network.conv1(images(pixels(3), network.preprocessing)).double()
    mean, var = (of(maps, dim=(1, 2, 3), keepdim=True) for of in (torch.mean, partial(torch.var, correction=0)))
    expected = ((maps - mean) / (var + 1e-5).sqrt()).amax((2, 3)).float().numpy()
    refusal = ""
    try:
        export_graph(backbone, outputs, tmp_path / "grouped.onnx")
    except EngineError as error:
        refusal = str(error)
    if refusal:
        assert "gives other features than torch" in refusal
    else:
        assert_same(OnnxEngine(tmp_path / "grouped.onnx", [outputs[0].spec])(pixels(3))[0], expected)


def test_where_a_varying_number_goes_wrong_it_is_fixed(tmp_path, monkeypatch):
    right, serialised, tried = load_backbone(Small()), export._serialised, []

    def one_wrong(module, backbone, *, dynamic):
        tried.append(dynamic)
        if dynamic:
            raise EngineError("no")
        return serialised(module, backbone, dynamic=dynamic)

    monkeypatch.setattr(export, "_serialised", one_wrong)
    outputs = plan_outputs(right, layers=["fc"])
    export_graph(right, outputs, tmp_path / "right.onnx")
    engine = OnnxEngine(tmp_path / "right.onnx", [outputs[0].spec])
    assert (tried, engine.batch_size) == ([True, False], 4)
    assert_same(engine(pixels(6))[0], plainly(Small(), pixels(6))["fc"])


def test_what_onnx_cannot_hold(tmp_path, monkeypatch):
    backbone = load_backbone(Small())
    outputs = plan_outputs(backbone)
    monkeypatch.setattr(export, "_LARGEST", 4000)
    with pytest.raises(EngineError, match="exceed the 2 GiB of an ONNX graph: use engine torch"):
        export_graph(backbone, outputs, tmp_path / "large.onnx")
    monkeypatch.undo()

    def unknown(*arguments, **options):
        raise RuntimeError("no such operator\nand a long tale")

    monkeypatch.setattr(torch.onnx, "export", unknown)
    with pytest.raises(EngineError, match=r"^torch\.onnx cannot export .* \(no such operator\): use engine torch$"):
        export_graph(backbone, outputs, tmp_path / "odd.onnx")
    monkeypatch.setattr(export, "_serialised", lambda *_, **__: b"")
    with pytest.raises(EngineError, match=r"the graph .* cannot be written \(No such file or directory\)"):
        export_graph(backbone, outputs, tmp_path / "nowhere" / "odd.onnx")
    assert list(tmp_path.iterdir()) == []


def test_only_fp32(exported, tmp_path):
    path, specs = exported
    with pytest.raises(EngineError, match="engine 'onnxruntime' computes in precision fp32; got precision 'bf16'"):
        OnnxEngine(path, [*specs[:-1], replace(specs[-1], precision="bf16")])
    backbone = load_backbone(Small())
    with pytest.raises(EngineError, match="got precision 'fp16': use engine torch"):
        export_graph(backbone, plan_outputs(backbone, precision="fp16"), tmp_path / "half.onnx")


@pytest.mark.parametrize("place", [0, 10, 0.3, 0.5, 0.7, 0.99, -90, -80, -20, -1])
def test_a_damaged_graph_is_noticed(exported, tmp_path, place):
    data = bytearray(exported[0].read_bytes())
    data[int(place * len(data)) if isinstance(place, float) else place] ^= 0x10
    (tmp_path / "damaged.onnx").write_bytes(data)
    with pytest.raises(EngineError, match=r"the graph .*damaged\.onnx is damaged: export it again"):
        OnnxEngine(tmp_path / "damaged.onnx", exported[1])


@pytest.mark.parametrize("length", [0, 1, 50, 1000, -1, -82])
def test_a_torn_graph_is_noticed(exported, tmp_path, length):
    (tmp_path / "torn.onnx").write_bytes(exported[0].read_bytes()[:length])
    with pytest.raises(EngineError, match="is damaged: export it again"):
        OnnxEngine(tmp_path / "torn.onnx", exported[1])


def test_what_is_no_graph_of_these_specs(exported, tmp_path):
    path, specs = exported
    with pytest.raises(EngineError, match=r"cannot be read \(No such file or directory\): export it again"):
        OnnxEngine(tmp_path / "missing.onnx", specs)
    (tmp_path / "sealed.onnx").write_bytes(b"junk" + seal(b"junk"))
    with pytest.raises(EngineError, match=r"onnxruntime .* does not take the graph .*sealed\.onnx"):
        OnnxEngine(tmp_path / "sealed.onnx", specs)
    with pytest.raises(EngineError, match="is of another backbone: export it again"):
        OnnxEngine(path, specs[:-1])
    larger = specs[0].preprocessing.changed(image_size=64)
    with pytest.raises(EngineError, match="is of another backbone: export it again"):
        OnnxEngine(path, [replace(spec, preprocessing=larger) for spec in specs])


def test_the_key_is_of_what_decides_the_graph():
    preprocessing = Preprocessing()
    spec = ExtractionSpec(backbone="b", weights="w", layer="l", pool="avg", preprocessing=preprocessing)
    key = graph_key([spec])
    same = replace(preprocessing, resize="pad", interpolation="lanczos", resize_size=(300, 300))
    assert key == graph_key([replace(spec, dtype="float16", preprocessing=same)])
    assert key == graph_key([replace(spec, views=3, augment="hflip", augment_seed=1)])
    others = [
        replace(spec, **change)
        for change in (
            {"backbone": "c"},
            {"weights": "v"},
            {"layer": "m"},
            {"pool": "max"},
            {"preprocessing": replace(preprocessing, crop_size=(224, 225))},
            {"preprocessing": replace(preprocessing, mean=(0.5, 0.5, 0.5))},
            {"preprocessing": replace(preprocessing, std=(0.5, 0.5, 0.5))},
        )
    ]
    keys = [graph_key(specs) for specs in (*([other] for other in others), [spec, others[0]], [others[0], spec])]
    assert len({key, *keys}) == len(keys) + 1


def check_backbone(name, size, folder: Path):
    """Compare the engines with torch on a backbone's whole network, not folded."""
    backbone = load_backbone(
        name, weights=None if name == "efficientnet_lite0" else "random:0", image_size=size or None
    )
    outputs = plan_outputs(backbone)
    batch = pixels(5, backbone.preprocessing.crop_size)
    taken = []
    module = backbone.network.get_submodule(backbone.classifier) if backbone.classifier else backbone.network
    handle = module.register_forward_pre_hook(lambda _, args: taken.append(args[0]))
    with torch.no_grad():
        given = backbone.network(images(batch, backbone.preprocessing))
    handle.remove()
    expected = (taken[0] if backbone.classifier else given).numpy()
    if expected.ndim == 4:  # the classifier is a convolution; what it is given is averaged
        expected = expected.mean((2, 3))
    assert_same(TorchEngine(backbone, outputs)(batch)[0], expected)
    export_graph(backbone, outputs, folder / "graph.onnx")
    assert_same(OnnxEngine(folder / "graph.onnx", [outputs[0].spec])(batch)[0], expected)


@pytest.mark.parametrize(
    ("name", "size"), [pytest.param("efficientnet_lite0", 96, marks=pytest.mark.slow), ("timm:test_vit", 0)]
)
def test_the_default_and_a_transformer(name, size, tmp_path):
    check_backbone(name, size, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "size"),
    [
        ("torchvision:resnet18", 64),
        ("torchvision:mobilenet_v2", 64),
        ("torchvision:mobilenet_v3_small", 64),
        ("torchvision:densenet121", 64),
        ("torchvision:squeezenet1_1", 64),
        ("torchvision:shufflenet_v2_x0_5", 64),
        ("torchvision:regnet_y_400mf", 64),
        ("torchvision:mnasnet0_5", 64),
        ("torchvision:googlenet", 64),
        ("torchvision:inception_v3", 96),
        ("torchvision:vgg11_bn", 64),
        ("torchvision:swin_t", 64),
        ("torchvision:convnext_tiny", 64),
        ("torchvision:maxvit_t", 0),
        ("torchvision:vit_b_32", 0),
        ("timm:swin_tiny_patch4_window7_224", 0),
        ("timm:vit_tiny_patch16_224", 0),
        ("timm:convnext_atto", 64),
        ("timm:resnetv2_50", 64),
        ("timm:levit_128s", 0),
        ("timm:mixer_s32_224", 0),
        ("timm:repvgg_a0", 64),
        ("timm:edgenext_xx_small", 128),
        ("timm:efficientnet_b0", 64),
        ("timm:nfnet_f0", 64),
        ("timm:mobilevit_s", 128),
    ],
)
def test_families(name, size, tmp_path):
    check_backbone(name, size, tmp_path)
