"""Weights: read without running code, loaded strictly, digested by what is really in the network."""

import os
import pickle

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from featx.backbones import load_backbone
from featx.backbones._weights import classes_in, digest_weights, load_into, parse_seed, read_state_dict
from featx.errors import WeightsError, WeightsUnavailableError
from tests.tiny import tiny_net


def same(one, other):
    assert one.keys() == other.keys()
    assert all(torch.equal(one[key], other[key]) for key in one)


@pytest.fixture
def state():
    return {key: value.clone() for key, value in tiny_net().state_dict().items()}


WRAPPINGS = {
    "plain": lambda state: state,
    "state_dict": lambda state: {"state_dict": state, "epoch": 3},
    "model": lambda state: {"model": state, "args": {"lr": 0.1}},
    "module": lambda state: {f"module.{key}": value for key, value in state.items()},
    "compiled": lambda state: {f"_orig_mod.{key}": value for key, value in state.items()},
    "both": lambda state: {"state_dict": {f"module._orig_mod.{key}": value for key, value in state.items()}},
}


@pytest.mark.parametrize("suffix", [".pt", ".pth", ".ckpt", ""])
@pytest.mark.parametrize("wrapping", WRAPPINGS)
def test_files_of_torch(tmp_path, state, wrapping, suffix):
    path = str(tmp_path / f"weights{suffix}")
    torch.save(WRAPPINGS[wrapping](state), path)
    same(read_state_dict(path), state)


def test_safetensors(tmp_path, state):
    path = str(tmp_path / "weights.safetensors")
    save_file(state, path)
    same(read_state_dict(path), state)


class Runs:
    """Leaves a file behind when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (self.path,)


def test_a_pickle_with_a_program_is_refused_and_not_run(tmp_path):
    trace = str(tmp_path / "trace")
    path = tmp_path / "bomb.pt"
    torch.save({"weight": Runs(trace)}, path)
    plain = tmp_path / "plain.pt"
    plain.write_bytes(pickle.dumps(Runs(trace)))
    for file in (path, plain):
        with pytest.raises(WeightsError, match="cannot be read as tensors"):
            read_state_dict(str(file))
    assert not os.path.exists(trace)
    with open(plain, "rb") as opened:
        pickle.load(opened)
    assert os.path.exists(trace)  # the trap works


@pytest.mark.parametrize(
    "content", [3, [], {}, {"weight": 3}, {0: torch.zeros(1)}, {"state_dict": {}}, torch.zeros(3)], ids=repr
)
def test_a_file_of_something_else(tmp_path, content):
    path = str(tmp_path / "other.pt")
    torch.save(content, path)
    with pytest.raises(WeightsError, match="hold no state dict"):
        read_state_dict(path)


@pytest.mark.parametrize("name", ["a.pt", "a.safetensors"])
@pytest.mark.parametrize("content", [b"", b"no weights", b"<!doctype html>" * 99, b"PK\x03\x04"], ids=repr)
def test_a_file_that_cannot_be_read(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(WeightsError, match="cannot be read as tensors"):
        read_state_dict(str(tmp_path / name))


def test_no_such_file():
    with pytest.raises(WeightsUnavailableError, match=r"weights '/none.pt': there is no such file"):
        read_state_dict("/none.pt")


@pytest.mark.parametrize(("text", "seed"), [("random:0", 0), ("random:18446744073709551615", 2**64 - 1)])
def test_seeds(text, seed):
    assert parse_seed(text) == seed


@pytest.mark.parametrize("text", ["IMAGENET1K_V1", "random_init.pth", "randomly", "RANDOM:0", "a/random:0"])
def test_what_is_no_seed(text):
    assert parse_seed(text) is None


@pytest.mark.parametrize(
    "text", ["random", "random:", "random:x", "random:-1", "random:1.0", "random:²", f"random:{2**64}"]
)
def test_bad_seeds(text):
    with pytest.raises(WeightsError, match="must be random:SEED with a whole number"):
        parse_seed(text)


def test_loading_is_strict_and_names_the_keys(state):
    state["surplus.weight"] = torch.zeros(1)
    del state["conv1.bias"]
    state["fc.weight"] = torch.zeros(5, 17)
    network = tiny_net()
    before = digest_weights(network)
    with pytest.raises(WeightsError) as caught:
        load_into(network, state, path="w.pt", name="tiny")
    assert str(caught.value) == (
        "weights 'w.pt' do not fit tiny: 1 missing (conv1.bias); 1 unexpected (surplus.weight);"
        " 1 of another shape (fc.weight (5, 17) for (5, 16)) of 11 tensors: give the file of this architecture,"
        " or the backbone the file was saved from"
    )
    assert digest_weights(network) == before


def test_many_keys_are_abridged():
    module = nn.Module()
    module.a = nn.ParameterList(torch.zeros(1) for _ in range(6))
    with pytest.raises(WeightsError, match=r"6 missing \(a\.0, a\.1, a\.2, a\.3 and 2 more\)"):
        load_into(module, {}, path="w", name="n")


def test_classes(state):
    network = tiny_net()
    assert classes_in(state, network) is None
    state["fc.weight"], state["fc.bias"] = torch.zeros(7, 16), torch.zeros(7)
    assert classes_in(state, network) == 7
    state["conv1.bias"] = torch.zeros(3)
    assert classes_in(state, network) is None
    del state["conv1.bias"]
    assert classes_in(state, network) is None


def test_the_digest_is_pinned():
    module = nn.Linear(2, 1)
    module.load_state_dict({"weight": torch.tensor([[1.0, 2.0]]), "bias": torch.tensor([3.0])})
    assert digest_weights(module) == "21a9fa496624af25215c15349b65926a5c1f7fa9310f1878c217e57eb1d84089"


def test_the_digest_counts_every_tensor_and_nothing_else(state):
    network = tiny_net()
    digest = digest_weights(network)
    assert digest_weights(network.to(memory_format=torch.channels_last).train()) == digest
    digests = {digest}
    for key, value in state.items():
        changed = {name: tensor.clone() for name, tensor in state.items()}
        changed[key].view(-1)[-1] += 1
        network.load_state_dict(changed)
        digests.add(digest_weights(network))
        assert value.shape == changed[key].shape
    assert len(digests) == len(state) + 1
    assert digest_weights(tiny_net().double()) not in digests


def test_the_digest_counts_buffers_that_a_state_dict_leaves_out():
    def with_buffer(value):
        module = nn.Linear(1, 1, bias=False)
        nn.init.ones_(module.weight)
        module.register_buffer("scale", torch.tensor(value), persistent=False)
        return digest_weights(module)

    assert with_buffer(1.0) == with_buffer(1.0) != with_buffer(2.0)


def test_the_digest_does_not_know_the_file(tmp_path, state):
    torch.save(state, tmp_path / "one.pt")
    save_file(state, tmp_path / "two.safetensors")
    one = load_backbone("tests.tiny:tiny_net", weights=tmp_path / "one.pt")
    two = load_backbone("tests.tiny:tiny_net", weights=tmp_path / "two.safetensors")
    assert one.weights == two.weights == digest_weights(tiny_net())
    assert (one.origin, two.origin) == (str(tmp_path / "one.pt"), str(tmp_path / "two.safetensors"))
