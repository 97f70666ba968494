import math

import pytest
import torch

from featx.errors import ParameterError
from featx.heads.nets._optimizers import OPTIMIZERS, RMSprop, optimizer_settings, parse_schedule


@pytest.mark.parametrize("weight_decay", [0.0, 0.1])
def test_rmsprop_is_torchs(weight_decay):
    torch.manual_seed(0)
    start = torch.randn(40, 30)
    ours, theirs = (torch.nn.Parameter(start.clone()) for _ in range(2))
    steppers = [
        RMSprop([ours], lr=1e-2, weight_decay=weight_decay),
        torch.optim.RMSprop([theirs], lr=1e-2, weight_decay=weight_decay),
    ]
    for scale in torch.logspace(-3, 2, 50):
        gradient = scale * torch.randn(40, 30)
        for parameter, stepper in zip((ours, theirs), steppers, strict=True):
            parameter.grad = gradient.clone()
            stepper.step()
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-6)
    assert (ours - start).abs().min() > 0


def test_every_optimizer_takes_its_settings():
    for name, optimizer in OPTIMIZERS.items():
        parameter = torch.nn.Parameter(torch.ones(3))
        stepper = optimizer([parameter], lr=0.1, **optimizer_settings(name, momentum=0.5, weight_decay=0.25))
        assert stepper.param_groups[0]["weight_decay"] == 0.25
        assert stepper.param_groups[0].get("momentum") == (0.5 if name == "sgd" else None)


def test_schedules():
    assert parse_schedule(None, 10, 0) is None
    step = parse_schedule("step(7, 0.1)", 10, 0)
    assert [step(epoch) for epoch in (0, 6, 7, 13, 14)] == pytest.approx([1, 1, 0.1, 0.1, 0.01])
    assert parse_schedule("step(7,0.1)", 10, 5)(2) == pytest.approx(0.1)
    cosine = parse_schedule("cosine", 10, 0)
    assert [cosine(epoch) for epoch in (0, 5, 9)] == pytest.approx([1, 0.5, (1 + math.cos(0.9 * math.pi)) / 2])


@pytest.mark.parametrize(
    "text", ["linear", "step", "step(7)", "step(0,0.1)", "step(7,0)", "step(7,.)", "step(7,inf)", 3]
)
def test_what_is_no_schedule_is_refused(text):
    with pytest.raises(ParameterError, match="schedule must be none, cosine or step"):
        parse_schedule(text, 10, 0)
