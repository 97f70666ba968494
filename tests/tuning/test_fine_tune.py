"""Fine-tuning from images to a run, held against plain torch."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn
from torch.nn import functional

import featx
from featx.backbones import load_backbone
from featx.errors import HeadError, ParameterError, SpecMismatchError
from featx.fitting import continue_fit
from featx.tuning import fine_tune
from tests.tiny import write_folder
from tests.tuning.nets import PREPROCESSING, STAGED, Staged, staged


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    return write_folder(tmp_path_factory.mktemp("tune") / "photos", splits=("train", "val", "test"), per_class=5)


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def head(photos, here):
    """Return the folder of a head on what the classifier is given."""
    store = featx.extract(photos, STAGED, layer="fc.input")
    return featx.fit_head(store, "logistic").save()


def pixels_of(paths):
    from featx.extraction import preprocess

    images = np.stack([preprocess(Image.open(path).convert("RGB"), PREPROCESSING) for path in paths])
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (PREPROCESSING.mean, PREPROCESSING.std))
    return (torch.from_numpy(images).permute(0, 3, 1, 2) / 255 - mean) / std


def plain(network, head, images, labels, *, order, batch, steps, rate, trained):
    """Train as everybody does: the whole network in each step, its batch norms in evaluation mode."""
    network.eval()
    for name, parameter in network.named_parameters():
        parameter.requires_grad_(name.startswith(trained))
    network.fc = nn.Identity()
    learning = [p for p in (*network.parameters(), *head.parameters()) if p.requires_grad]
    optimizer = torch.optim.SGD(learning, lr=rate, momentum=0.9)
    generator = torch.Generator().manual_seed(order)
    for _ in range(steps):
        for chunk in torch.randperm(len(images), generator=generator).split(batch):
            optimizer.zero_grad()
            functional.cross_entropy(head(network(images[chunk])), labels[chunk]).backward()
            optimizer.step()
    return network, head


def linear_of(run):
    coef, intercept = run.head.coef_, run.head.intercept_
    layer = nn.Linear(coef.shape[1], len(coef))
    layer.load_state_dict({"weight": torch.from_numpy(coef).float(), "bias": torch.from_numpy(intercept).float()})
    return layer


@pytest.mark.parametrize(
    ("start", "trained", "cut"),
    [("stage2", ("stage2", "gain"), "act_1"), ("all", ("",), None)],
)
def test_it_learns_what_plain_torch_learns(photos, head, start, trained, cut):
    tuned = fine_tune(
        photos, init_head=head, start=start, optimizer="sgd", learning_rate=0.05, epochs=2, batch_size=5, val="none",
        train="train",
    )  # fmt: skip
    assert tuned.plan.cut == cut
    run = featx.Run.load(head)
    keys = list(run.keys["train"])
    assert list(tuned.run.keys["train"]) == keys
    labels = torch.tensor([run.classes.index(key.split("/")[1]) for key in keys])
    images = pixels_of([photos / key for key in keys])
    network, layer = plain(
        staged(), linear_of(run), images, labels, order=0, batch=5, steps=2, rate=0.05, trained=trained
    )
    got = load_backbone(str(tuned.folder)).network
    for name, expected in network.state_dict().items():
        torch.testing.assert_close(got.state_dict()[name], expected, rtol=1e-4, atol=1e-5)
    moved = (network.stage2[0].weight - staged().stage2[0].weight).abs().max()
    assert moved > 1e-3
    torch.testing.assert_close(tuned.run.head.module_.dense_1.weight, layer.weight, rtol=1e-4, atol=1e-5)
    with torch.no_grad():
        expected = layer(network(pixels_of(sorted(photos.glob("test/*/*.png"))))).softmax(dim=1).numpy()
    given = featx.load(tuned.folder).predict_proba(sorted(photos.glob("test/*/*.png")))
    np.testing.assert_allclose(given, expected, rtol=1e-3, atol=1e-4)


def test_the_run_is_a_backbone_wherever_it_is(photos, head, here):
    tuned = fine_tune(photos, init_head=head, start="stage2", learning_rate=0.01, epochs=2)
    assert tuned.folder.name == tuned.run.name
    original, (spec,) = load_backbone(STAGED), tuned.run.specs
    assert spec.weights != original.weights
    assert (spec.layer, spec.backbone, spec.preprocessing) == ("fc.input", STAGED, PREPROCESSING)
    before = len(list((here / "cache").glob("*.h5")))
    moved = Path(shutil.move(tuned.folder, here / "elsewhere"))
    images = sorted(photos.glob("test/*/*.png"))
    expected = featx.load(tuned.run).predict_features(
        featx.open_store(tuned.run.settings["stores"][0]["path"]).features
    )
    store = featx.extract(photos, str(moved), layer="fc.input")
    assert store.spec == spec
    assert len(list((here / "cache").glob("*.h5"))) == before
    answers = featx.load(moved).predict(images)
    by_key = {key: answer.scores for key, answer in zip(store.keys, expected, strict=True)}
    for path, answer in zip(images, answers, strict=True):
        assert answer.scores == pytest.approx(by_key[path.relative_to(photos).as_posix()], abs=1e-5)
    same = featx.extract(photos, STAGED, layer="fc.input", weights=moved / "network.safetensors")
    assert same.spec == spec
    again = featx.fit_head(store, "mlp", {"max_epochs": 2}).save()
    file = moved / "network.safetensors"  # the store knows it by the name that it had then
    assert featx.load(again, weights=file).predict(images)[0].error is None
    assert featx.evaluate(moved).n == 15


def test_the_history_goes_on(photos, here):
    store = featx.extract(photos, STAGED, layer="fc.input")
    net = featx.fit_head(store, "mlp", {"max_epochs": 3, "schedule": None}).save()
    seen = []
    tuned = fine_tune(photos, init_head=net, start="stage2", epochs=2, report=seen.append)
    history = tuned.run.history
    assert list(history[:3]) == list(featx.Run.load(net).history)
    assert [entry["epoch"] for entry in history] == [1, 2, 3, 4, 5]
    assert [entry.get("phase") for entry in history] == [None] * 3 + ["fine-tune"] * 2
    assert list(history[3:]) == seen == tuned.history
    more = fine_tune(photos, str(tuned.folder), init_head=tuned.folder, start="stage2", epochs=1)
    assert [entry["epoch"] for entry in more.run.history] == [1, 2, 3, 4, 5, 6]
    assert more.run.settings["tuning"]["init_head"] == tuned.run.name
    linear = fine_tune(photos, init_head=featx.fit_head(store).save(), start="stage2", epochs=2)
    first = linear.run.history[0]
    assert [entry["epoch"] for entry in linear.run.history] == [0, 1, 2]
    before = featx.fit_head(store).metrics
    assert first["val_accuracy"] == pytest.approx(before["val"].figures["accuracy"].value)
    assert first["val_loss"] == pytest.approx(before["val"].figures["log_loss"].value, rel=1e-4)
    assert first["loss"] == pytest.approx(before["train"].figures["log_loss"].value, rel=1e-4)
    assert "phase" not in first


def test_what_was_better_before_is_kept(photos, head):
    tuned = fine_tune(photos, init_head=head, start="stage2", optimizer="sgd", learning_rate=3.0, epochs=2)
    losses = [entry["val_loss"] for entry in tuned.history]
    assert losses[0] == min(losses)
    assert tuned.best_epoch == 0
    assert load_backbone(str(tuned.folder)).weights == load_backbone(STAGED).weights
    before = featx.Run.load(head)
    np.testing.assert_allclose(tuned.run.answers["val"].scores, before.answers["val"].scores, atol=1e-5)
    other = fine_tune(photos, init_head=head, start="stage2", optimizer="sgd", learning_rate=4.0, epochs=2)
    assert other.folder != tuned.folder


def test_batch_norms_learn_where_they_are_told_to(photos, head):
    settings = {
        "init_head": head,
        "start": "stage2",
        "learning_rate": 1e-3,
        "epochs": 1,
        "train": "train",
        "val": "none",
    }
    before = staged().state_dict()
    for batch_norm, changes in (("auto", False), ("eval", False), ("train", True)):
        tuned = fine_tune(photos, batch_norm=batch_norm, **settings)
        after = load_backbone(str(tuned.folder)).network.state_dict()
        frozen = [name for name in before if name.startswith(("stem", "stage1", "fc"))]
        assert all(torch.equal(after[name], before[name]) for name in frozen)
        assert torch.equal(after["stage2.1.running_mean"], before["stage2.1.running_mean"]) != changes
        assert not torch.equal(after["stage2.1.weight"], before["stage2.1.weight"])
        assert tuned.run.settings["tuning"]["batch_norm"] == ("train" if changes else "eval")


def test_from_random_weights_with_a_fresh_head(photos, here):
    tuned = fine_tune(
        photos, STAGED, weights="random:5", layer="fc.input", start="all", fresh_head=True, loss="categorical",
        head_layers="dense(4) relu dense", learning_rate=1e-2, epochs=8, batch_size=8,
    )  # fmt: skip
    network = load_backbone(STAGED, weights="random:5").network
    count = sum(p.numel() for name, p in network.named_parameters() if not name.startswith("fc"))
    assert tuned.plan.trainable == count + (8 * 4 + 4) + (4 * 3 + 3)
    assert (tuned.plan.frozen, tuned.plan.statistics, tuned.plan.cut) == (0, 2 * (6 + 8 + 8), None)
    assert tuned.run.settings["tuning"]["batch_norm"] == "train"
    assert [entry["epoch"] for entry in tuned.run.history] == list(range(1, 9))
    assert tuned.run.history[-1]["loss"] < tuned.run.history[0]["loss"]
    assert tuned.run.metrics["val"].figures["accuracy"].value > 0.6
    best = min(tuned.run.history, key=lambda entry: entry["val_loss"])
    assert tuned.best_epoch == best["epoch"]
    assert tuned.run.metrics["val"].figures["log_loss"].value == pytest.approx(best["val_loss"], rel=1e-3)


def test_half_precision_and_views_at_the_cut(photos, head):
    tuned = fine_tune(
        photos,
        init_head=head,
        start="stage2",
        epochs=2,
        dtype="float16",
        precision="bf16",
        views=2,
        augment="hflip(p=1)",
    )
    kept = featx.open_store(tuned.plan.path)
    assert (kept.features.dtype, kept.axes, kept.spec.precision) == (np.float16, "NVHWC", "bf16")
    (spec,) = tuned.run.specs
    assert (spec.views, spec.augment, spec.dtype) == (2, "hflip(p=1)", "float32")
    answers = featx.load(tuned.folder).predict(sorted(photos.glob("test/*/*.png")))
    assert all(answer.error is None for answer in answers)


def test_only_trained_heads_are_gone_on_from(photos, head):
    with pytest.raises(ParameterError, match="train a head first"):
        fine_tune(photos, STAGED, start="stage2")
    with pytest.raises(ParameterError, match="not both"):
        fine_tune(photos, STAGED, start="stage2", init_head=head, fresh_head=True)
    store = featx.extract(photos, STAGED, layer="fc.input")
    with pytest.raises(HeadError, match="must be a net or linear; got KNNClassifier"):
        fine_tune(photos, start="stage2", init_head=featx.fit_head(store, "knn", {"n_neighbors": 2}))
    both = featx.fit_head([store, featx.extract(photos, STAGED, layer="act_2", pool="avg")])
    with pytest.raises(ParameterError, match="on one store"):
        fine_tune(photos, start="stage2", init_head=both)


@pytest.mark.parametrize(
    ("asked", "match"),
    [
        ({"layer": "act_2"}, "layer: 'fc.input' against 'act_2'"),
        ({"weights": "other.pt"}, "weights: "),
        ({"image_size": 24}, "preprocessing.crop_size"),
        ({"backbone": "tests.extraction.networks:Small"}, "backbone: "),
    ],
)
def test_another_backbone_than_the_heads_is_refused(photos, head, asked, match):
    torch.save(Staged().state_dict(), "other.pt")
    with pytest.raises(SpecMismatchError, match=match):
        fine_tune(photos, start="stage2", init_head=head, **asked)


@pytest.mark.parametrize(
    ("asked", "match"),
    [
        ({"learning_rate": 0.0}, "learning_rate must be"),
        ({"epochs": 0}, "max_epochs must be"),
        ({"batch_norm": "no"}, "batch_norm must be one of auto, eval, train"),
        ({"precision": "fp16"}, "precision must be auto, fp32 or bf16"),
        ({"start": "all", "views": 2, "augment": "hflip"}, "views must be 1"),
        ({"augment": "flip"}, "a set of 2 views"),
        ({"views": 2}, "views 2 needs augment"),
        ({"out": "."}, "is there and is no run"),
    ],
)
def test_settings_that_cannot_be_are_refused(photos, head, asked, match):
    with pytest.raises(ParameterError, match=match):
        fine_tune(photos, **{"start": "stage2", "init_head": head, **asked})


def test_other_samples_than_the_heads_need_splits(photos, head, here):
    others = write_folder(here / "others", per_class=4)
    with pytest.raises(ParameterError, match=r"27 are missing|30 are missing|45 are missing"):
        fine_tune(others, init_head=head, start="stage2")
    tuned = fine_tune(others, init_head=head, start="stage2", epochs=1, val=0.25)
    assert (tuned.plan.train, tuned.plan.val) == (9, 3)


def test_a_head_is_not_gone_on_with_alone(photos, head):
    tuned = fine_tune(photos, init_head=head, start="stage2", epochs=1)
    with pytest.raises(ParameterError, match="featx fine-tune SOURCE --init-head RUN"):
        continue_fit(tuned.folder)


def manifest(folder, column, value):
    """Write colourful images and a manifest that says of each what `value` makes of its number."""
    write_folder(folder, per_class=6)
    paths = sorted(folder.glob("*/*.png"))
    rows = [f"{path.relative_to(folder).as_posix()},{value(number)}" for number, path in enumerate(paths)]
    (folder / "all.csv").write_text("\n".join([f"path,{column}", *rows]))
    return folder / "all.csv"


def test_numbers(here):
    source = manifest(here / "images", "value", lambda number: f"{1000 + 50 * (number // 6)}|{number % 2}")
    head = featx.fit_head(featx.extract(source, STAGED, layer="fc.input"), "ridge")
    tuned = fine_tune(source, init_head=head, start="stage2", learning_rate=1e-3, epochs=2)
    before, after = head.answers["val"], tuned.run.answers["val"]
    assert (tuned.run.task, "accuracy" in tuned.history[0]) == ("regression", False)
    assert tuned.history[0]["val_loss"] < 2  # in units of the values' variance, whatever their own is
    assert np.abs(before.scores - after.scores).max() < 100
    assert 900 < after.scores[:, 0].mean() < 1150
    fresh = fine_tune(source, STAGED, layer="fc.input", fresh_head=True, start="stage2", learning_rate=1e-2, epochs=9)
    assert fresh.history[-1]["loss"] < fresh.history[0]["loss"]
    with pytest.raises(ParameterError, match="loss is of classes"):
        fine_tune(source, STAGED, layer="fc.input", fresh_head=True, loss="binary", start="stage2")


def test_several_labels(here):
    source = manifest(here / "images", "labels", lambda number: "low|odd" if number % 2 and number < 9 else "low")
    head = featx.fit_head(featx.extract(source, STAGED, layer="fc.input"), "logistic")
    tuned = fine_tune(source, init_head=head, start="stage2", learning_rate=1e-3, epochs=2)
    assert tuned.run.task == "multilabel"
    assert tuned.history[0]["val_accuracy"] == pytest.approx(
        ((head.answers["val"].scores > 0.5) == head.answers["val"].truth).mean()
    )
    answers = featx.load(tuned.folder).predict([here / "images" / "red" / "000.png"])
    assert set(answers[0].scores) == {"low", "odd"}
