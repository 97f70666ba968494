"""Which engine computes: as asked for, as a trial says where one pays, and as before the next time."""

import numpy as np
import pytest

from featx.caching import _choice, extract_layers
from featx.caching._choice import Choice, choose
from featx.caching._recall import Resolved
from featx.caching._targets import Wanted
from featx.errors import EngineError
from featx.spec import ExtractionSpec, Preprocessing
from tests.caching.helpers import extracted
from tests.tiny import write_folder

WORKERS = 2


class Clock:
    """Time that passes only when an engine computes."""

    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now


class Engine:
    """Takes so many seconds for an image of a batch of that size."""

    def __init__(self, clock, seconds, *, resizes=False):
        self.clock, self.seconds, self.resizes = clock, seconds, resizes
        self.shapes = set()
        self.batches = []

    def start(self, images, submit):
        self.shapes |= {image.shape for image in images}
        self.batches.append(len(images))
        self.clock.now += self.seconds(len(images)) * len(images)
        return lambda: ()


class Network:
    machine = "here"
    weight_bytes = 0

    def __init__(self, folder, clock, device="cpu", precision="fp32", **engines):
        preprocessing = Preprocessing(crop_size=(20, 10))
        spec = ExtractionSpec(
            backbone="test:x", weights="0", layer="x", pool="none", preprocessing=preprocessing, precision=precision
        )
        self.resolved = Resolved((Wanted(spec, (1,), "NC"),), device, {})
        self.folder = folder
        self.engines = {name: Engine(clock, seconds, resizes=device != "cpu") for name, seconds in engines.items()}

    def memory_file(self, name):
        return self.folder / name if self.folder else None

    def engine(self, name, wanted):
        if name not in self.engines:
            raise EngineError(f"{name} does not take it")
        return self.engines[name]

    def choose(self, count=100_000, *, engine=None, batch_size=None):
        return choose(self, self.resolved.wanted, engine=engine, batch_size=batch_size, count=count, workers=WORKERS)

    @property
    def tried(self):
        return {name: engine.batches for name, engine in self.engines.items() if engine.batches}


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(_choice.time, "perf_counter", clock)
    return clock


def slow(size):
    return 0.1


def fast(size):
    return 0.01


def test_the_faster_engine_computes(tmp_path, clock):
    network = Network(tmp_path, clock, torch=slow, onnxruntime=fast)
    assert network.choose() == Choice("onnxruntime", 4)
    assert network.engines["torch"].shapes == {(20, 10, 3)}
    assert Network(tmp_path / "2", clock, torch=fast, onnxruntime=slow).choose() == Choice("torch", 8)


def test_both_are_timed_at_the_batch_size_that_is_asked_for(tmp_path, clock):
    network = Network(tmp_path, clock, torch=slow, onnxruntime=fast)
    assert network.choose(batch_size=5) == Choice("onnxruntime", 5)
    assert set(network.tried["torch"]) == set(network.tried["onnxruntime"]) == {5}


def test_a_network_that_onnx_runtime_does_not_take(tmp_path, clock):
    assert Network(tmp_path, clock, torch=slow).choose() == Choice("torch", 8)


def test_little_work_is_not_worth_an_export(tmp_path, clock):
    engines = {"torch": lambda size: 0.02, "onnxruntime": fast}
    for weight_bytes, least in ((0, 5), (350_000_000, 40)):
        folder = tmp_path / str(weight_bytes)
        for kept, seconds in ((folder, least), (None, 3 * least)):  # a graph that is not kept must be worth more
            network = Network(kept, clock, **engines)
            network.weight_bytes = weight_bytes
            assert network.choose(50 * seconds - 1) == Choice("torch", 8)
            assert "onnxruntime" not in network.tried
            assert network.choose(50 * seconds + 1) == Choice("onnxruntime", 4)


def test_very_little_work_is_not_worth_a_trial(tmp_path, clock):
    network = Network(tmp_path, clock, torch=slow, onnxruntime=fast)
    assert network.choose(64) == Choice("torch", 8)
    assert network.tried == {}


def test_what_a_trial_found_is_remembered_and_serves_little_work_too(tmp_path, clock):
    Network(tmp_path, clock, torch=slow, onnxruntime=fast).choose()
    again = Network(tmp_path, clock, torch=slow, onnxruntime=slow)
    assert again.choose(1) == Choice("onnxruntime", 4)
    assert again.tried == {}
    assert again.choose(1, batch_size=3) == Choice("torch", 3)  # which is another question


def test_a_network_of_ones_own_is_tried_every_time(clock):
    for _ in range(2):
        network = Network(None, clock, torch=slow, onnxruntime=fast)
        assert network.choose() == Choice("onnxruntime", 4)
        assert network.tried


@pytest.mark.parametrize("text", [b"", b"{}", b"[1]", b'{"engine": 1, "batch_size": "x"}', b"\xff"])
def test_a_damaged_note_is_no_note(tmp_path, clock, text):
    network = Network(tmp_path, clock, torch=slow, onnxruntime=fast)
    network.choose()
    (note,) = tmp_path.rglob("*.json")
    note.write_bytes(text)
    assert network.choose() == Choice("onnxruntime", 4)
    assert note.read_bytes() != text


@pytest.mark.parametrize("engine", ["torch", "compile", "onnxruntime"])
def test_what_is_asked_for_on_a_processor_is_not_tried(tmp_path, clock, engine):
    network = Network(tmp_path, clock)
    assert network.choose(engine=engine) == Choice(engine, 4 if engine == "onnxruntime" else 8)
    assert network.choose(engine=engine, batch_size=7) == Choice(engine, 7)


def test_other_precisions_are_torchs(tmp_path, clock):
    assert Network(tmp_path, clock, precision="bf16").choose() == Choice("torch", 8)


def test_a_batch_on_a_gpu_grows_while_that_is_faster(tmp_path, clock):
    network = Network(tmp_path, clock, device="cuda", torch=lambda size: 0.02 if size < 512 else 0.0199)
    assert network.choose() == Choice("torch", 128)
    assert network.engines["torch"].shapes == {(375, 500, 3)}  # it resizes itself
    growing = Network(tmp_path / "2", clock, device="cuda", torch=lambda size: 10 / min(size, 520))
    assert growing.choose() == Choice("torch", 512)
    assert growing.choose(engine="torch") == Choice("torch", 512)
    assert growing.choose(batch_size=64) == Choice("torch", 64)


def test_a_batch_on_a_gpu_does_not_grow_beyond_the_work(tmp_path, clock):
    network = Network(tmp_path, clock, device="cuda", torch=lambda size: 10 / size)
    assert network.choose(3000) == Choice("torch", 4096)
    assert max(network.tried["torch"]) == 4096


def test_work_goes_on_with_what_it_was_begun_with(tmp_path):
    folder = write_folder(tmp_path / "photos", per_class=5)

    def stop(done, total):
        if done >= 6:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        extracted(folder, tmp_path / "cache", batch_size=3, progress=stop)
    ((extraction,), _, images) = extracted(folder, tmp_path / "cache")  # any batch size will do
    assert extraction.store.creation["batch_size"] == 3
    assert images == 15 - 6


def test_onnx_runtime_is_chosen_for_real_and_its_graph_serves_the_next_run(tmp_path, monkeypatch):
    monkeypatch.setattr(_choice, "_WORTH", -100.0)
    monkeypatch.setattr(_choice, "_FEW", 0)
    photos = write_folder(tmp_path / "photos", per_class=3)
    options = {"weights": "random:0", "image_size": 64, "cache": tmp_path / "cache"}
    (auto,) = extract_layers(photos, "timm:test_resnet", **options)
    graphs = sorted((tmp_path / "cache" / ".graphs").iterdir())
    assert len(graphs) == 1
    (plain,) = extract_layers(photos, "timm:test_resnet", **options, engine="torch", out=tmp_path / "plain.h5")
    assert auto.store.spec == plain.store.spec
    np.testing.assert_allclose(auto.store.features, plain.store.features, rtol=1e-3, atol=1e-4)

    def fail(*arguments, **settings):
        raise AssertionError("exported again")

    auto.store.path.unlink()
    monkeypatch.setattr("featx.extraction._export.export_graph", fail)
    (again,) = extract_layers(photos, "timm:test_resnet", **options, engine="onnxruntime")
    assert again.store.creation["engine"] == "onnxruntime"
    assert again.changes.computed == 9
