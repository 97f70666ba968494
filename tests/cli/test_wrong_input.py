"""Wrong input of every kind: one clear line, exit code 1 or 2, never a traceback."""

import os
import re
import shutil

import numpy as np
import pytest
import torch
from PIL import Image

import featx as library
from featx.cli._app import main
from tests.tiny import BACKBONE, picture, tiny_net, write_folder


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A folder with images, their store in a cache, and a run; made once, and copied for each test."""
    folder = tmp_path_factory.mktemp("made")
    write_folder(folder / "photos", splits=("train", "test"), per_class=4)
    store = library.extract(folder / "photos", BACKBONE, cache=folder / "cache")
    library.fit_head(store).save(folder / "runs" / "mine")
    return folder


@pytest.fixture
def photos(here, made):
    shutil.copytree(made / "photos", here / "photos")
    return here / "photos"


@pytest.fixture
def store(here, made, photos):
    shutil.copytree(made / "cache", here / "cache")
    return library.find_store("photos")


@pytest.fixture
def run(here, made):
    shutil.copytree(made / "runs", here / "runs")
    return "runs/mine"


EXTRACT = ["extract", "photos", "--backbone", BACKBONE]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["extract", "phots"], r"there is no file or folder 'phots'; did you mean 'photos'\?"),
        (["extract", ""], "there is no file or folder ''|must be"),
        (["extract", "empty"], "holds no images"),
        (["extract", "photos/train/red/000.png"], "is a single image: give the folder it is in"),
        (["extract", "notes.txt"], "must be a folder, or a file that ends in one of .zip"),
        (["extract", "broken.zip"], r"broken\.zip"),
        (["extract", "torchvision:CIFAR11"], "CIFAR11"),
        (["extract", "photos", "--backbone", "resnet5o"], r"'resnet5o' is unknown; did you mean 'resnet50'\?"),
        (["extract", "photos", "--backbone", "timm:nothing_at_all"], "is unknown to timm"),
        (["extract", "photos", "--backbone", "no.such:module"], "must be MODULE:FUNCTION, importable from here"),
        (["extract", "photos", "--backbone", "tests.tiny:nothing"], "must be MODULE:FUNCTION, importable from here"),
        (["extract", "photos", "--backbone", "os:getcwd"], r"must return a torch\.nn\.Module; got str"),
        ([*EXTRACT, "--layer", "conv3"], r"'conv3' is no node of tests\.tiny:tiny_net; did you mean 'conv"),
        ([*EXTRACT, "--layer", "conv2", "--layer", "conv2"], "must all be different"),
        ([*EXTRACT, "--layer", "fc", "--pool", "cls"], "cls"),
        ([*EXTRACT, "--weights", "nowhere.pth"], r"nowhere\.pth': there is no such file"),
        ([*EXTRACT, "--weights", "notes.pth"], r"notes\.pth' cannot be read as tensors"),
        (
            [*EXTRACT, "--weights", "other.pth"],
            r"do not fit tests\.tiny:tiny_net: 1 missing \(fc\.bias\); 1 unexpected",
        ),
        ([*EXTRACT, "--weights", "random:x"], "must be random:SEED"),
        ([*EXTRACT, "--weights", "IMAGENET1K_V1"], "must be a file that is there, or random:SEED"),
        (["extract", "photos", "--backbone", "resnet18", "--weights", "V9"], "V9"),
        ([*EXTRACT, "--device", "cuda:99"], "device 'cuda:99' is not there"),
        ([*EXTRACT, "--device", "tpu"], "device must be auto, cpu, cuda or cuda:N; got 'tpu'"),
        ([*EXTRACT, "--out", "foreign.h5"], r"foreign\.h5"),
        ([*EXTRACT, "--out", "notes.txt/a.h5"], r"notes\.txt"),
        ([*EXTRACT, "--cache", "notes.txt"], r"notes\.txt"),
        ([*EXTRACT, "--out", "a.h5", "--layer", "conv1", "--layer", "conv2"], "out names one file"),
        (["fit-head", "nowhere"], "store 'nowhere' is neither a file nor a store in cache"),
        (["fit-head", "foreign.h5"], r"foreign\.h5"),
        (["fit-head", "notes.txt"], r"notes\.txt"),
        (["fit-head", "empty"], "store 'empty' is neither a file nor a store"),
        (["fit-head", "photos", "--head", "logistc"], r"no head 'logistc'; did you mean 'logistic'\?"),
        (["fit-head", "photos", "--head", "os.system"], "no head 'os.system'"),
        (["fit-head", "photos", "--head", "sklearn.svm.SVR"], "must be a classifier"),
        (["fit-head", "photos", "--set", "c=1"], "has no parameter 'c'"),
        (["fit-head", "photos", "--set", "C"], "KEY=VALUE, such as C=0.1; got 'C'"),
        (["fit-head", "photos", "--set", "=1"], "KEY=VALUE"),
        (["fit-head", "photos", "--set", "C=-1"], "C must be a number above 0"),
        (["fit-head", "photos", "--set", "C=abc"], "C must be a number above 0"),
        (["fit-head", "photos", "--val", "valid"], "val must be one of the store's splits"),
        (["fit-head", "photos", "--val", "1.5"], "fraction between 0 and 1; got '1.5'"),
        (["fit-head", "photos", "--train", "trian"], r"did you mean 'train'\?"),
        (["fit-head", "photos", "--test", "train"], "must be different splits; got train, train"),
        (["fit-head", "photos", "--cv", "99"], "folds must be at most 4"),
        (["fit-head", "photos", "photos"], "must have different specs"),
        (["fit-head", "photos", "--out", "photos"], "'photos' is there and is no run"),
        (["evaluate", "nowhere", "photos"], "'nowhere' is no run"),
        (["evaluate", "photos", "photos"], r"'photos' is no run \(run\.json: no such file"),
        (["evaluate", "RUN", "nowhere"], "neither a file nor a store"),
        (["evaluate", "RUN", "photos", "--split", "val"], r"split must be one of the store's \(test, train\)"),
        (["predict", "nowhere", "a.jpg"], "'nowhere' is no run"),
        (["predict", "RUN", "nowhere.jpg"], r"there is no file or folder 'nowhere\.jpg'"),
        (["predict", "RUN", "empty"], "holds no images"),
        (["predict", "RUN", "photos", "--weights", "nowhere.pth"], "there is no such file"),
        (
            ["predict", "RUN", "photos", "--weights", "changed.pth"],
            "differs from what the head was trained on in weights",
        ),
        (["predict", "RUN", "photos", "--device", "tpu"], "device must be"),
        (
            ["predict", "RUN", "photos", "--csv", "no/such/folder.csv"],
            "'no/such/folder.csv' must be in a folder that is there",
        ),
        (["info", "nowhere"], "neither a file nor a store"),
        (["info", "foreign.h5"], r"foreign\.h5"),
        (["extract", "photos", "--distributed", "ray", "--device", "cuda"], "device must be auto or cpu for workers"),
        (["backbones", "nothing_like_it"], "no backbone matches 'nothing_like_it'"),
        (["layers", "resnet5o"], r"did you mean 'resnet50'\?"),
    ],
    ids=lambda value: " ".join(value)[:60] if isinstance(value, list) else "",
)
def test_one_line_and_code_1(featx, here, store, run, words, message):
    (here / "empty").mkdir()
    for name in ("notes.txt", "notes.pth", "foreign.h5", "broken.zip"):
        (here / name).write_text("nothing of the kind")
    state = tiny_net().state_dict()
    torch.save({("fc.b" if name == "fc.bias" else name): value for name, value in state.items()}, "other.pth")
    torch.save(state | {"fc.bias": state["fc.bias"] + 1}, "changed.pth")
    before = sorted(os.listdir(here)), sorted(os.listdir(here / "cache"))
    line = featx.fails(*(run if word == "RUN" else word for word in words))
    assert re.search(message, line), line
    assert (sorted(os.listdir(here)), sorted(os.listdir(here / "cache"))) == before


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["extrakt"], "No such command 'extrakt'"),
        (["extract"], "Missing argument 'SOURCE'"),
        (["extract", "a", "b"], "unexpected extra argument"),
        (["extract", "photos", "--pol", "avg"], "No such option.*--pol"),
        (["extract", "photos", "--pool", "mean"], "'mean' is not one of 'avg', 'max'"),
        (["extract", "photos", "--image-size", "0"], "0 is not in the range x>=1"),
        (["extract", "photos", "--batch-size", "0"], "must be a whole number of at least 1, or auto"),
        (["extract", "photos", "--batch-size", "many"], "must be a whole number of at least 1, or auto"),
        (["extract", "photos", "--mean", "0.5"], "must be three numbers"),
        (["extract", "photos", "--mean", "a,b,c"], "must be three numbers"),
        (["extract", "photos", "--limit", "-1"], "not in the range"),
        (["extract", "photos", "--out", "photos"], "is a directory"),
        (["extract", "photos", "--num-workers", "2"], "--num-workers is for --distributed ray"),
        (["extract", "photos", "--distributed", "spark"], "'spark' is not 'ray'"),
        (["extract", "photos", "--distributed", "ray", "--gpus-per-worker", "2"], "2.0 is not in the range 0<=x<=1"),
        (["fit-head"], "Missing argument 'STORE...'"),
        (["fit-head", "photos", "--cv", "1"], "1 is not in the range x>=2"),
        (["fit-head", "photos", "--seed", "x"], "not a valid integer"),
        (["predict", "runs/x"], "Missing argument 'IMAGES...'"),
        (["predict", "runs/x", "a.jpg", "--top", "0"], "not in the range"),
        (["predict", "runs/x", "--json", "a.jpg"], "'a.jpg' must end in .json"),
        (["predict", "runs/x", "a.jpg", "--json", "b.jpg"], "'b.jpg' must end in .json, or be - for standard output"),
        (["predict", "runs/x", "a.jpg", "--csv", "b"], "'b' must end in .csv"),
        (["info"], "Missing argument 'STORE'"),
    ],
    ids=lambda value: " ".join(value)[:60] if isinstance(value, list) else "",
)
def test_wrong_usage_is_code_2(featx, photos, words, message):
    assert re.search(message, featx.fails(*words, code=2))


def test_no_words_at_all_show_the_help(featx):
    answer = featx(code=2)
    assert "Commands:" in answer.err


def test_json_never_overwrites_an_image(featx, run, photos):
    image = photos / "train" / "red" / "000.png"
    before = image.read_bytes()
    featx("predict", run, "--json", image, "photos", code=2)
    featx("predict", run, "photos", "--csv", image, code=2)
    assert image.read_bytes() == before


def test_one_class(featx, here):
    write_folder(here / "single", classes=1)
    featx("extract", "single", "--backbone", BACKBONE)
    assert "two classes or more; got 'blue' alone" in featx.fails("fit-head", "single")


def test_no_labels(featx, here):
    (here / "flat").mkdir()
    for i in range(3):
        picture(i).save(here / "flat" / f"{i}.png")
    featx("extract", "flat", "--backbone", BACKBONE)
    assert "the store has no labels" in featx.fails("fit-head", "flat")


def test_only_bad_images(featx, here):
    (here / "bad").mkdir()
    (here / "bad" / "a.jpg").touch()
    line = featx.fails("extract", "bad", "--backbone", BACKBONE)
    assert "no sample could be extracted; the first of 1 failures: " in line


def test_weights_that_cannot_be_downloaded(featx, photos, monkeypatch, tmp_path):
    import urllib.error
    import urllib.request

    def unreachable(*_, **__):
        raise urllib.error.URLError("Name or service not known")

    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.setattr(urllib.request, "urlopen", unreachable)
    monkeypatch.setattr(torch.hub, "urlopen", unreachable)
    line = featx("extract", "photos", "--backbone", "mobilenet_v3_small", code=1).err.splitlines()[-1]
    assert "mobilenet_v3_small" in line
    assert "--weights FILE" in line
    assert "efficientnet_lite0" in line


def test_several_stores_of_a_name(featx, store):
    featx("extract", "photos", "--backbone", BACKBONE, "--layer", "conv2")
    for words in (["fit-head", "photos"], ["info", "photos"]):
        line = featx.fails(*words)
        assert "store 'photos' is the name of 2 stores (photos.tiny_net." in line
    assert featx("info", store.path.name.split(".")[-2]).out


def test_a_damaged_store_and_a_damaged_run(featx, photos, run, here):
    store = library.extract("photos", BACKBONE)
    data = store.path.read_bytes()
    store.path.write_bytes(data[: len(data) // 2])
    for words in (["info", "photos"], ["fit-head", "photos"], [*EXTRACT], ["evaluate", run, "photos"]):
        assert store.path.name in featx.fails(*words)
    (here / run / "head.safetensors").write_bytes(b"")
    assert "than it was saved with" in featx.fails("predict", run, "photos")


def test_features_of_another_backbone(featx, store, run, here):
    other = library.extract("photos", BACKBONE, layer="conv2", name="other")
    line = featx.fails("evaluate", run, other.path)
    assert "differs from what the head was trained on in layer: 'output' against 'conv2'" in line


def test_a_class_called_like_a_way_out(featx, here):
    """Names of classes and sources never become paths."""
    images = np.stack([np.asarray(picture(i, (200 * (i % 2), 50, 50), (32, 32))) for i in range(12)])
    (here / "x").mkdir()
    for i, image in enumerate(images):
        Image.fromarray(image).save(here / "x" / f"{i}.png")
    lines = ["path,label", *(f"{i}.png,../../{'ab'[i % 2]}/x" for i in range(12))]
    (here / "x" / "list.csv").write_text("\n".join(lines))
    featx("extract", "x/list.csv", "--backbone", BACKBONE, "--name", "../../escaped")
    before = sorted(os.listdir(here.parent))
    answer = featx("fit-head", "escaped")
    assert sorted(os.listdir(here.parent)) == before
    assert sorted(os.listdir(here)) == ["cache", "runs", "x"]
    assert "../../a/x" in answer.out
    answer = featx("predict", answer.out.splitlines()[-1], "x/0.png")
    assert re.search(r"x/0\.png: \d+% \.\./\.\./[ab]/x, ", answer.out)


def test_debug_raises(store, run):
    with pytest.raises(library.FeatxError):
        main(["--debug", "info", "nowhere"])
    assert main(["info", "nowhere"]) == 1
    shutil.rmtree(run)
    with pytest.raises(library.FeatxError):
        main(["--debug", "predict", run, "--", "--debug"])
