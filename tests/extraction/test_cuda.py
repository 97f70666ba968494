"""The engine for a GPU: on a processor everything but the streams, on a GPU all of it."""

import io
from functools import partial

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from featx.backbones import load_backbone
from featx.errors import EngineError
from featx.extraction import TorchEngine, _cuda, _device, embed, plan_outputs, preprocess
from featx.extraction._cuda import CudaEngine
from featx.sources import open_images
from featx.spec import Preprocessing
from tests.tiny import picture

PREPROCESSING = Preprocessing(crop_size=(32, 32), resize_size=(36, 36), interpolation="bicubic")
GPU = pytest.param("cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU"))


class Net(nn.Module):
    """A convolution with batch norm, pooling and a classifier; `room` is how many images fit into its memory."""

    room = 1 << 30

    def __init__(self):
        super().__init__()
        self.preprocessing = PREPROCESSING
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            self.conv = nn.Conv2d(3, 8, 5, stride=2)
            self.norm = nn.BatchNorm2d(8)
            self.relu = nn.ReLU(inplace=True)
            self.pool = nn.AdaptiveAvgPool2d(2)
            self.fc = nn.Linear(32, 5)
            nn.init.uniform_(self.norm.running_mean, -0.5, 0.5)
            nn.init.uniform_(self.norm.running_var, 0.5, 2.0)
        self.sizes = []

    def forward(self, x):
        self.sizes.append(len(x))
        if len(x) > self.room:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return self.fc(self.pool(self.relu(self.norm(self.conv(x)))).flatten(1))


def photographs(n=9):
    """Return pictures of many sizes, one of them too long to be resized on the device."""
    sizes = [(40 + 3 * i, 90 - 7 * i) for i in range(n - 1)] + [(800, 20)]
    return [np.asarray(picture(i, (30 * i % 256, 100, 200 - 20 * i), size)) for i, size in enumerate(sizes)]


def planned(layers=("norm", "fc.input"), network=Net, **kwargs):
    backbone = load_backbone(network())
    return backbone, plan_outputs(backbone, layers=layers, **kwargs)


def expected(backbone, images):
    """Return what the layers ``norm`` (averaged) and ``fc.input`` give, by plain torch."""
    net = backbone.network.cpu()
    pixels = np.stack([preprocess(Image.fromarray(image), PREPROCESSING) for image in images])
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (PREPROCESSING.mean, PREPROCESSING.std))
    with torch.inference_mode():
        normed = net.norm(net.conv((torch.from_numpy(pixels).permute(0, 3, 1, 2) / 255 - mean) / std))
        return normed.mean((2, 3)).numpy(), net.pool(normed.relu()).flatten(1).numpy()


def features(engine, images):
    return engine.start(images, no_pool)()


def no_pool(*_):
    raise AssertionError("the device computes")


def close(got, wanted, tolerance=1e-5):
    assert [array.shape for array in got] == [array.shape for array in wanted]
    for mine, true in zip(got, wanted, strict=True):
        np.testing.assert_allclose(mine, true, rtol=0, atol=tolerance * np.abs(true).max())


@pytest.mark.parametrize("device", ["cpu", GPU])
def test_equals_plain_torch_on_images_of_any_size(device):
    backbone, outputs = planned()
    engine = CudaEngine(backbone, outputs, device=device)
    got = features(engine, photographs())
    assert (engine.name, engine.device, engine.resizes) == ("torch", device, True)
    assert all(array.dtype == np.float32 and array.flags.c_contiguous for array in got)
    close(got, expected(backbone, photographs()))


@pytest.mark.parametrize("device", ["cpu", GPU])
@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_lower_precision_is_autocast(device, precision):
    backbone, outputs = planned(precision=precision)
    seen = []
    backbone.network.conv.register_forward_hook(lambda *args: seen.append(args[2].dtype))
    got = features(CudaEngine(backbone, outputs, device=device), photographs())
    assert seen == [{"bf16": torch.bfloat16, "fp16": torch.float16}[precision]]
    assert all(array.dtype == np.float32 for array in got)
    close(got, expected(backbone, photographs()), 2e-2)


def test_rows_are_stored_as_float16_where_the_spec_says_so():
    backbone, outputs = planned(dtype="float16")
    got = features(CudaEngine(backbone, outputs, device="cpu"), photographs())
    for mine, true in zip(got, expected(backbone, photographs()), strict=True):
        assert mine.dtype == np.float16
        np.testing.assert_allclose(mine, true, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("device", ["cpu", GPU])
def test_batches_in_flight_do_not_disturb_each_other(device):
    backbone, outputs = planned()
    engine = CudaEngine(backbone, outputs, device=device)
    images = photographs()
    batches = [images[start:] + images[:start] for start in range(6)]
    waits = [engine.start(batch, no_pool) for batch in batches]
    got = [wait() for wait in reversed(waits)][::-1]
    for rows, batch in zip(got, batches, strict=True):
        close(rows, expected(backbone, batch))


def test_large_images_are_sent_in_chunks(monkeypatch):
    monkeypatch.setattr(_cuda, "_CHUNK", 20_000)
    sent = []
    monkeypatch.setattr(
        _device.Staging,
        "send",
        lambda self, *args, send=_device.Staging.send: sent.append(args[0]) or send(self, *args),
    )
    backbone, outputs = planned()
    close(features(CudaEngine(backbone, outputs, device="cpu"), photographs()), expected(backbone, photographs()))
    assert len(sent) > 3


class Recording(_device.Processor):
    """A device that notes when host memory is taken, and when one waits for a copy from it."""

    def __init__(self):
        super().__init__("cpu")
        self.sent, self.waited = [], []

    def send(self, host, size):
        self.sent.append(host.data_ptr())
        number = len(self.sent)
        target, _ = super().send(host, size)
        return target, lambda: self.waited.append(number)


def test_host_memory_is_filled_again_only_when_what_it_held_has_arrived():
    processor = Recording()
    staging = _device.Staging(processor)
    waited = []

    def fill(buffer):
        waited.append(list(processor.waited))
        buffer[:] = len(waited)

    targets = [staging.send(5, 8, fill) for _ in range(5)]
    assert waited == [[], [], [1], [1, 2], [1, 2, 3]]
    assert len(set(processor.sent)) == 2
    assert [target[:5].tolist() for target in targets] == [[number] * 5 for number in range(1, 6)]
    assert all(len(target) == 8 for target in targets)
    assert len(staging.send(50, 50, fill)) == 50


@pytest.mark.parametrize("device", ["cpu", GPU])
def test_out_of_memory_halves_the_pieces_and_keeps_content_and_order(device):
    backbone, outputs = planned()
    engine = CudaEngine(backbone, outputs, device=device)
    images = photographs()
    wanted = expected(backbone, images)
    net = backbone.network
    net.room = 3
    net.sizes.clear()
    close(features(engine, images), wanted)
    assert net.sizes == [9, 5, 3, 3, 3]
    net.sizes.clear()
    close(features(engine, images[:4]), [array[:4] for array in wanted])  # what does not fit is remembered
    assert net.sizes == [3, 1]


def test_out_of_memory_while_waiting_is_met_likewise(monkeypatch):
    backbone, outputs = planned()
    engine = CudaEngine(backbone, outputs, device="cpu")
    images = photographs()
    wanted = expected(backbone, images)

    def fetch(self, rows, fetch=_device.Processor.fetch):
        wait = fetch(self, rows)

        def late():
            if len(rows[0]) > 4:
                raise torch.OutOfMemoryError("CUDA out of memory")
            return wait()

        return late

    monkeypatch.setattr(_device.Processor, "fetch", fetch)
    close(features(engine, images), wanted)
    close(features(engine, images), wanted)


def test_an_image_that_does_not_fit_alone_is_an_error_with_a_way_out():
    backbone, outputs = planned()
    engine = CudaEngine(backbone, outputs, device="cpu")
    backbone.network.room = 0
    with pytest.raises(EngineError, match=r"one image does not fit .* 'cpu' .*: use a smaller image_size"):
        features(engine, photographs())


def test_other_errors_of_the_network_come_through():
    backbone, outputs = planned()
    engine = CudaEngine(backbone, outputs, device="cpu")
    backbone.network.room = None
    with pytest.raises(TypeError, match="not supported between"):
        features(engine, photographs())


@pytest.fixture
def compiled_sizes(monkeypatch):
    """Capture as ever, but let torch run the graph as it is, since the C++ compiler takes long; note the sizes."""
    sizes = []

    def note(run, pixels):
        sizes.append(len(pixels))
        return run(pixels)

    def compiler(graph, *, mode, dynamic, compiler=torch.compile):
        assert (mode, dynamic) == (None, False)
        return partial(note, compiler(graph, backend="aot_eager", dynamic=dynamic))

    monkeypatch.setattr(torch, "compile", compiler)
    return sizes


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_compiled_rows_are_the_same_and_small_batches_are_filled_up(compiled_sizes, precision):
    backbone, outputs = planned(precision=precision)
    engine = CudaEngine(backbone, outputs, device="cpu", compiled=True)
    assert engine.name == "compile"
    images = photographs()
    wanted = features(CudaEngine(backbone, outputs, device="cpu"), images)
    tolerance = 1e-5 if precision == "fp32" else 1e-2
    close(features(engine, images[:4]), [array[:4] for array in wanted], tolerance)
    close(features(engine, images[:2]), [array[:2] for array in wanted], tolerance)
    close(features(engine, images), wanted, tolerance)
    close(features(engine, images[:3]), [array[:3] for array in wanted], tolerance)
    close(features(engine, images[:7]), [array[:7] for array in wanted], tolerance)
    assert compiled_sizes == [4, 4, 4, 9, 9, 4, 9]  # each size once to compile it
    assert backbone.network.sizes == [2, 9]  # its layers were listed, and the other engine ran it


def test_compiled_and_out_of_memory(compiled_sizes):
    backbone, outputs = planned()
    engine = CudaEngine(backbone, outputs, device="cpu", compiled=True)
    wanted = expected(backbone, photographs())
    backbone.network.room = 5
    close(features(engine, photographs()), wanted)
    assert compiled_sizes == [5, 5, 5]  # nine could not even be captured; the last four were filled up


class Fickle(Net):
    """Its control flow depends on what it sees."""

    def forward(self, x):
        return super().forward(x.abs() if x.sum() > 1e9 else x)


def test_what_cannot_be_compiled_is_an_error_that_names_the_engine_that_can():
    engine = CudaEngine(*planned(network=Fickle), device="cpu", compiled=True)
    with pytest.raises(EngineError, match=r"torch.compile cannot compile the network .*: use engine torch"):
        features(engine, photographs())


@pytest.mark.slow
@pytest.mark.parametrize("device", ["cpu", GPU])
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_really_compiled(device, precision):
    backbone, outputs = planned(precision=precision)
    engine = CudaEngine(backbone, outputs, device=device, compiled=True)
    images = photographs()
    got = [features(engine, batch) for batch in (images, images[:4], images)]
    wanted = expected(backbone, images)
    tolerance = 1e-5 if precision == "fp32" else 2e-2
    close(got[0], wanted, tolerance)
    close(got[1], [array[:4] for array in wanted], tolerance)
    close(got[2], got[0], 1e-6)


def encoded(image, file_format="JPEG"):
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, file_format)
    return buffer.getvalue()


class Decoder:
    """Decodes with Pillow, and refuses what has `refused` in it."""

    def __init__(self, refused=b"no such"):
        self.refused = refused
        self.counts = []

    def __call__(self, files):
        self.counts.append(len(files))
        if any(self.refused in data for data in files):
            raise RuntimeError("nvJPEG failed")
        return [torch.from_numpy(np.array(Image.open(io.BytesIO(data), formats=["JPEG"]))) for data in files]


def test_jpeg_files_are_decoded_all_at_once_and_mixed_with_images():
    backbone, outputs = planned()
    images = photographs()
    files = [encoded(image) for image in images]
    decoded = [np.asarray(Image.open(io.BytesIO(data))) for data in files]
    decoder = Decoder()
    engine = CudaEngine(backbone, outputs, device="cpu", decode_jpegs=decoder)
    mixed = [data if number % 3 else pixels for number, (data, pixels) in enumerate(zip(files, decoded, strict=True))]
    close(features(engine, mixed), expected(backbone, decoded))
    close(features(engine, files), expected(backbone, decoded))
    close(features(engine, decoded), expected(backbone, decoded))
    assert decoder.counts == [6, 9]


@pytest.mark.parametrize("text", ["affine(degrees=20) hflip", "rrc", "tencrop"])
@pytest.mark.parametrize("decode", ["exact", "gpu"])
def test_views_are_those_of_the_processor(tmp_path, text, decode):
    files = [tmp_path / f"{number}.jpg" for number in range(9)]
    for file, image in zip(files, photographs(), strict=True):
        file.write_bytes(encoded(image))
    found = []
    for mode in ("exact", decode):
        backbone = load_backbone(Net(), decode=mode)
        outputs = plan_outputs(backbone, layers=["norm", "fc.input"], views=4, augment=text, augment_seed=2)
        on_the_device = CudaEngine(backbone, outputs, device="cpu", decode_jpegs=Decoder())
        engine = on_the_device if found else TorchEngine(backbone, outputs)
        found.append(embed(open_images(files), engine, outputs, batch_size=5, workers=2))
    (wanted, rows, _), (got, same, failures) = found
    assert (rows.tolist(), same.tolist(), failures) == (list(range(9)), list(range(9)), ())
    assert wanted[1].shape == (9, 4, 32)
    close(got, wanted)


def test_a_file_that_the_device_refuses_is_decoded_by_the_processor_and_a_bad_one_gives_nan():
    backbone, outputs = planned()
    images = photographs()[:5]
    files = [encoded(image) for image in images]
    files[1] = encoded(images[1], "PNG")
    decoded = [np.asarray(Image.open(io.BytesIO(data))) for data in files]
    files[3] = b"\xff\xd8\xff no image"
    decoder = Decoder(refused=b"PNG")
    engine = CudaEngine(backbone, outputs, device="cpu", decode_jpegs=decoder)
    got = features(engine, files)
    assert decoder.counts == [5, 1, 1, 1, 1, 1]
    for mine, true in zip(got, expected(backbone, decoded), strict=True):
        assert np.isnan(mine[3]).all()
        np.testing.assert_allclose(np.delete(mine, 3, 0), np.delete(true, 3, 0), atol=1e-5)


def test_a_decoder_that_is_not_there_is_an_error(monkeypatch):
    def decode_jpeg(*args, **kwargs):
        raise RuntimeError("not compiled with nvJPEG support\nsee the documentation")

    monkeypatch.setattr("torchvision.io.decode_jpeg", decode_jpeg)
    engine = CudaEngine(*planned(), device="cpu")
    with pytest.raises(EngineError, match=r"cannot decode JPEG files on cpu \(not compiled with nvJPEG support\): dec"):
        features(engine, [encoded(image) for image in photographs()])


def precisions():
    return [module.fp32_precision for module in OPERATORS]


def older_flags():
    return torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32


OPERATORS = (torch.backends.cuda.matmul, torch.backends.cudnn.conv, torch.backends.cudnn.rnn)


def test_full_precision_is_kept_for_the_calls_alone():
    before, older = precisions(), older_flags()
    assert "tf32" in before
    seen = []
    backbone, outputs = planned()
    backbone.network.conv.register_forward_hook(lambda *_: seen.append((precisions(), older_flags())))
    features(CudaEngine(backbone, outputs, device="cpu"), photographs())
    assert seen == [(["ieee"] * 3, (False, False))]
    assert (precisions(), older_flags()) == (before, older)


def test_full_precision_where_the_older_flags_cannot_say_what_was_set():
    before, older = precisions(), older_flags()
    torch.backends.cudnn.conv.fp32_precision = "ieee"
    try:
        with pytest.raises(RuntimeError, match="mix of the legacy and new APIs"):
            older_flags()
        with _device.full_precision():
            assert precisions() == ["ieee"] * 3
        assert precisions() == [before[0], "ieee", before[2]]
    finally:
        torch.backends.cudnn.conv.fp32_precision = before[1]
    assert (precisions(), older_flags()) == (before, older)
