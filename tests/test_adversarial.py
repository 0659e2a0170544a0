import contextlib
import copy
import signal
from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F
import torchvision
from torch import nn

from srlib.assets import sample_image
from srlib.data import PatchSampler, make_pairs
from srlib.models import SrResNet
from srlib.training import TrainConfig, train
from srlib.training.adversarial import (
    AdversarialLoss,
    FeatureLoss,
    PatchDiscriminator,
    discriminator_loss,
    generator_loss,
    vgg_features,
)
from srlib.training.forecast import forecast
from srlib.training.identity import describe, options_of

PAIRS = make_pairs({"astronaut": sample_image("astronaut")[100:196, 160:256]}, 2)
SMALL = {"channels": 4, "learning_rate": 1e-3}


def make(seed=0):
    torch.manual_seed(seed)
    sampler = PatchSampler(PAIRS, 2, lr_patch_size=8, batch_size=2, seed=seed)
    return SrResNet(2, channels=4, num_blocks=1), sampler


def quiet(**options):
    return TrainConfig(progress=False, schedule="constant", warmup=0, **options)


def same(one, other):
    one, other = one.state_dict(), other.state_dict()
    return all(torch.equal(one[k], other[k]) for k in one if isinstance(one[k], torch.Tensor))


def test_both_losses_are_binary_cross_entropy():
    real, fake = torch.randn(2, 3, 1, 4, 4)
    bce, yes, no = (
        F.binary_cross_entropy_with_logits,
        torch.ones(3, 1, 4, 4),
        torch.zeros(3, 1, 4, 4),
    )
    assert torch.allclose(discriminator_loss(real, fake), bce(real, yes) + bce(fake, no))
    assert torch.allclose(generator_loss(fake), bce(fake, yes))


def test_the_discriminator_sees_patches_of_44_pixels_and_every_pixel():
    torch.manual_seed(0)
    network = PatchDiscriminator(4).eval()
    image = torch.rand(1, 3, 96, 96, requires_grad=True)
    logits = network(image)
    assert logits.shape == (1, 1, 24, 24)
    (gradient,) = torch.autograd.grad(logits[0, 0, 12, 12], image)
    rows = gradient.abs().sum(dim=(0, 1, 3)).nonzero().flatten()
    assert len(rows) == rows[-1] - rows[0] + 1 == 44


def test_no_layer_amplifies_but_the_last():
    torch.manual_seed(0)
    network = PatchDiscriminator(4)
    for _ in range(50):  # each call in training mode estimates the largest singular value better
        network(torch.rand(1, 3, 16, 16))
    assert not hasattr(network.last, "parametrizations")
    for layer in network.layers:
        largest = torch.linalg.svdvals(layer.weight.detach().flatten(1))[0]
        assert largest.item() == pytest.approx(1, rel=0.02)


@pytest.mark.parametrize("shape", [(1, 3, 30, 32), (1, 1, 32, 32)])
def test_other_shapes_are_refused(shape):
    with pytest.raises(ValueError, match=r"got \(1"):
        PatchDiscriminator(4)(torch.rand(shape))


def test_a_call_is_both_turns_written_down_by_hand():
    weights = {
        "pixel_weight": 2,
        "coarse_weight": 4,
        "feature_weight": 3,
        "adversarial_weight": 0.5,
    }
    loss = AdversarialLoss(**weights, **SMALL)
    twin = copy.deepcopy(loss.discriminator)
    optimizer = torch.optim.Adam(twin.parameters(), lr=1e-3, betas=(0.5, 0.99))
    for seed in range(3):
        generator = torch.Generator().manual_seed(seed)
        sr, hr = torch.rand(2, 2, 3, 16, 16, generator=generator)
        sr, other = sr.clone().requires_grad_(), sr.clone().requires_grad_()
        value = loss(sr, hr)
        value.backward()

        real, fake = twin(torch.cat([hr, other.detach()])).chunk(2)
        optimizer.zero_grad()
        (F.softplus(-real).mean() + F.softplus(fake).mean()).backward()
        optimizer.step()
        assert torch.equal(torch.stack(loss.logits), torch.stack([real.mean(), fake.mean()]))
        found, twin_parameters = twin.features(other), list(twin.parameters())
        expected = 2 * (other - hr).abs().mean() + 0.5 * F.softplus(-twin.last(found[-1])).mean()
        means = (other - hr).unfold(2, 4, 4).unfold(3, 4, 4).mean(dim=(-1, -2))
        expected = expected + 4 * means.abs().mean()
        due = twin.features(hr)
        distances = [(a - b.detach()).abs().mean() for a, b in zip(found, due, strict=True)]
        expected = expected + 3 * sum(distances) / 5
        expected.backward(inputs=[other])
        # Spectral norm refines its estimate in each call, and here more calls were made.
        assert value.item() == pytest.approx(expected.item(), rel=1e-2)
        assert torch.allclose(sr.grad, other.grad, rtol=0.05, atol=1e-5)
        assert len(twin_parameters) == len(list(loss.discriminator.parameters()))


def test_the_generator_s_turn_leaves_the_discriminator_alone():
    loss = AdversarialLoss(**SMALL)
    sr, hr = torch.rand(2, 1, 3, 16, 16)
    value = loss(sr.requires_grad_(), hr)
    before = [p.grad.clone() for p in loss.discriminator.parameters()]
    value.backward()
    after = [p.grad for p in loss.discriminator.parameters()]
    assert all(map(torch.equal, before, after)) and sr.grad.abs().sum() > 0


def test_without_the_opponent_it_is_the_pixel_loss():
    loss = AdversarialLoss(coarse_weight=0, feature_weight=0, adversarial_weight=0, **SMALL)
    sr, hr = torch.rand(2, 1, 3, 16, 16)
    assert torch.equal(loss(sr, hr), F.l1_loss(sr, hr))


def test_the_discriminator_learns_to_tell_them_apart():
    torch.manual_seed(0)
    loss = AdversarialLoss(channels=8, learning_rate=2e-3)
    for _ in range(60):
        hr = torch.rand(4, 3, 16, 16)
        loss(F.avg_pool2d(hr, 3, 1, 1, count_include_pad=False), hr)
    real, fake = loss.logits
    assert real - fake > 1


def test_a_training_goes_on_bit_for_bit(tmp_path):
    """The discriminator, its optimizer and its spectral norm are in the checkpoint."""
    model, sampler = make()
    whole = AdversarialLoss(**SMALL)
    train(model, sampler, quiet(steps=6, learning_rate=1e-3), loss=whole)

    class Stop(Exception):
        pass

    def stop(step, _):
        if step == 4:
            raise Stop

    options = quiet(steps=6, learning_rate=1e-3, checkpoint_every=3)
    half, sampler = make()
    with pytest.raises(Stop):
        train(half, sampler, options, loss=AdversarialLoss(**SMALL), folder=tmp_path, on_step=stop)
    resumed, sampler = make(seed=0)
    loss = AdversarialLoss(**SMALL)
    train(resumed, sampler, options, loss=loss, folder=tmp_path)
    assert same(resumed, model) and same(loss, whole)
    with pytest.raises(ValueError, match="adversarial_weight: 0.1 there, 0.2 now"):
        other = AdversarialLoss(adversarial_weight=0.2, **SMALL)
        train(make()[0], sampler, options, loss=other, folder=tmp_path)


def test_a_training_goes_on_with_the_same_loss_object(tmp_path):
    """As in a notebook, whose cell is run again after the stop button."""

    def stop(step, _):
        if step == 2:
            signal.raise_signal(signal.SIGINT)

    loss, options = AdversarialLoss(**SMALL), quiet(steps=4)
    model, sampler = make()
    history = train(model, sampler, options, loss=loss, folder=tmp_path, on_step=stop)
    assert not history.attrs["complete"]
    assert train(model, sampler, options, loss=loss, folder=tmp_path).attrs["complete"]


@pytest.mark.parametrize("fails", [False, True])
def test_a_call_leaves_nothing_that_a_training_is_known_by(monkeypatch, fails):
    loss = AdversarialLoss(**SMALL)
    before = options_of(loss)
    if fails:
        monkeypatch.setattr("srlib.training.adversarial.generator_loss", None)
    with contextlib.suppress(TypeError):
        loss(*torch.rand(2, 1, 3, 16, 16))
    monkeypatch.undo()
    assert options_of(loss) == before


def test_a_training_that_recorded_its_logits_goes_on(tmp_path, monkeypatch):
    monkeypatch.setattr(
        "srlib.training.describe",
        lambda *given: (
            (d := describe(*given)) | {"loss_options": d["loss_options"] | {"logits": []}}
        ),
    )
    model, sampler = make()
    train(model, sampler, quiet(steps=2), loss=AdversarialLoss(**SMALL), folder=tmp_path)
    monkeypatch.undo()
    train(model, sampler, quiet(steps=2), loss=AdversarialLoss(**SMALL), folder=tmp_path)


def test_the_seed_decides_the_discriminator_and_nothing_else(monkeypatch):
    torch.manual_seed(5)
    first = torch.rand(1)
    torch.manual_seed(5)
    gpus = "torch.cuda.manual_seed_all"
    monkeypatch.setattr(gpus, lambda seed: pytest.fail("the GPUs were seeded"))
    one, again, other = (AdversarialLoss(seed=seed, **SMALL) for seed in (1, 1, 2))
    assert torch.rand(1) == first
    assert same(one, again) and not same(one, other)


def test_a_forecast_trains_nobody():
    model, sampler = make()
    loss = AdversarialLoss(**SMALL)
    before = copy.deepcopy(loss)
    forecast(model, sampler, quiet(steps=100), loss=loss)
    assert same(loss, before)


def test_several_processes_are_refused(monkeypatch):
    monkeypatch.setattr(torch.distributed, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.distributed, "get_world_size", lambda: 2)
    with pytest.raises(ValueError, match="in one process, got 2"):
        AdversarialLoss(**SMALL)(*torch.rand(2, 1, 3, 16, 16))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"pixel_weight": -1}, "pixel_weight must be at least 0 and finite, got -1"),
        ({"feature_weight": float("nan")}, "feature_weight must be"),
        ({"learning_rate": 0}, "learning_rate must be > 0 and finite, got 0"),
        ({"channels": 0}, "channels must be a whole number of at least 1, got 0"),
    ],
)
def test_bad_settings_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        AdversarialLoss(**options)


# Features of a network that was trained for something else


class Counted(nn.Module):
    def forward(self, x):
        self.calls = getattr(self, "calls", 0) + 1
        return x


def test_features_are_compared_where_it_is_said_before_they_are_overwritten():
    torch.manual_seed(0)
    layers = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(inplace=True), nn.Conv2d(4, 2, 3), Counted())
    loss = FeatureLoss(layers, (0, 2))
    sr, hr = torch.rand(2, 1, 3, 8, 8)
    first = (layers[0](sr) - layers[0](hr)).abs().mean()
    second = (layers[2](F.relu(layers[0](sr))) - layers[2](F.relu(layers[0](hr)))).abs().mean()
    assert torch.allclose(loss(sr.requires_grad_(), hr), (first + second) / 2)
    loss(sr, hr).backward()
    assert sr.grad.abs().sum() > 0
    assert not any(weight.requires_grad for weight in loss.parameters())
    assert not hasattr(layers[3], "calls")  # no layer is asked that nobody needs


@pytest.mark.parametrize("places", [(), (4,), (-1,)])
def test_places_that_are_not_there_are_refused(places):
    with pytest.raises(ValueError, match="must name some of 2 layers"):
        FeatureLoss(nn.Sequential(nn.ReLU(), nn.ReLU()), places)


def test_vgg_is_asked_before_its_relus():
    """A stand-in with VGG-19's layers, thinner, and without a download."""
    torch.manual_seed(0)
    with torch.device("meta"):
        kinds = [type(layer) for layer in torchvision.models.vgg19(weights=None).features]
    layers, width = [], 3
    for kind in kinds:
        if kind is nn.Conv2d:
            layers.append(nn.Conv2d(width, 2, 3, padding=1))
            width = 2
        else:
            layers.append(nn.ReLU(inplace=True) if kind is nn.ReLU else nn.MaxPool2d(2))
    loss = vgg_features(SimpleNamespace(features=nn.Sequential(*layers)))
    counts = [
        sum(isinstance(layer, nn.Conv2d) for layer in loss.layers[: p + 1]) for p in loss.places
    ]
    assert counts == [2, 4, 8, 12, 16]
    assert all(isinstance(loss.layers[place], nn.Conv2d) for place in loss.places)
    sr, hr = torch.rand(2, 1, 3, 32, 32)
    assert loss(sr, sr) == 0 < loss(sr, hr)
    normalised = loss.layers[0](torch.full((1, 3, 1, 1), 0.5)).flatten().tolist()
    assert normalised == pytest.approx(
        [(0.5 - 0.485) / 0.229, (0.5 - 0.456) / 0.224, (0.5 - 0.406) / 0.225]
    )


def test_it_can_be_trained_with():
    model, sampler = make()
    before = [p.detach().clone() for p in model.parameters()]
    features = FeatureLoss(nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU()), (1,))
    train(model, sampler, quiet(steps=2), loss=features)
    moved = [not torch.equal(a, b) for a, b in zip(before, model.parameters(), strict=True)]
    assert any(moved)


def test_layers_of_a_loss_compute_in_bfloat16_where_the_network_s_do():
    seen = {}

    class Watched(AdversarialLoss):
        def forward(self, sr, hr):
            seen[mode] = sr.dtype, self.discriminator.features(hr)[-1].dtype
            value = super().forward(sr, hr)
            assert value.dtype == torch.float32 and all(
                x.dtype == torch.float32 for x in self.logits
            )
            return value

    for mode in ("no", "bf16"):
        model, sampler = make()
        train(model, sampler, quiet(steps=1, mixed_precision=mode), loss=Watched(**SMALL))
    assert seen == {
        "no": (torch.float32, torch.float32),
        "bf16": (torch.float32, torch.bfloat16),
    }
