"""Which layers become Bayesian: those chosen, less the frozen ones; what stays as it is, and what is refused."""

import copy

import pytest
import torch
from torch import nn
from torch.testing import assert_close
from torchvision.models import resnet18

from bnnbench import random
from bnnbench.errors import UserError
from bnnbench.layers import convert
from bnnbench.layers.noisy import Noisy

GENERATOR = torch.Generator().manual_seed(0)
KEY = random.key(7)
X = torch.randn(5, 3, generator=GENERATOR)


class Net(nn.Module):
    """An embedding, a recurrent layer and norms with parameters, and two heads."""

    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Linear(3, 4), nn.LayerNorm(4), nn.ReLU(), nn.Linear(4, 4))
        self.cell = nn.GRU(4, 4, batch_first=True)
        self.head = nn.ModuleDict({"mean": nn.Linear(4, 2), "scale": nn.Linear(4, 2)})

    def forward(self, x):
        h = self.cell(self.body(x)[:, None])[0][:, 0]
        return self.head["mean"](h) + self.head["scale"](h)


def bayesian(net):
    return [path for path, layer in net.network.named_modules() if isinstance(layer, Noisy)]


@pytest.mark.parametrize(
    ("layers", "paths"),
    [
        (["head"], ["head.mean", "head.scale"]),
        ("head.mean", ["head.mean"]),
        (("body.3", "head.scale"), ["body.3", "head.scale"]),
        (lambda name, layer: layer.out_features == 4, ["body.0", "body.3"]),
        (lambda name, layer: name.endswith("scale"), ["head.scale"]),
    ],
)
@pytest.mark.parametrize("kind", ["sampled", "local", "flipout", "mnf"])
def test_layers_are_chosen_by_name_or_predicate(layers, paths, kind):
    """The others keep their parameters, which train, and have no scale and no share in the KL."""
    net = Net()
    bayes = convert(net, kind, layers=layers)
    assert bayesian(bayes) == paths
    assert {name.rpartition(".")[0] for name in bayes.scales()} == set(paths)
    output, kl = bayes(X)
    (output.square().sum() + kl).backward()
    assert all(value.grad is not None for _, value in bayes.named_parameters())
    others = {name for name, _ in net.named_parameters() if name.rpartition(".")[0] not in paths}
    before = bayes.kl(KEY)
    with torch.no_grad():
        for name in others:
            bayes.network.get_parameter(name).add_(1)
    assert bayes.kl(KEY) == before


def test_the_choice_s_kl_is_that_of_its_layers_alone():
    net = Net()
    part = nn.Sequential(net.head["mean"], net.head["scale"])
    assert_close(convert(net, layers=["head"]).kl(), convert(part).kl(), rtol=0, atol=0)


@pytest.mark.parametrize(
    ("layers", "sentence"),
    [
        (["haed"], r"no layer 'haed'; did you mean head\?"),
        (["head.meen"], "did you mean head.mean"),
        (["cell"], "'cell' holds no nn.Linear or nn.Conv2d layer"),
        ([], "chooses no layer; there are 'body.0'"),
        (lambda name, layer: False, "chooses no layer"),
        ([3], "not 3"),
        (["body"], r"'body.1' \(LayerNorm\) holds parameters.*`layers=`"),
        (None, r"'body.1' \(LayerNorm\) holds parameters.*`requires_grad_\(False\)`"),
    ],
)
def test_choices_that_cannot_be_are_told_with_the_remedy(layers, sentence):
    with pytest.raises(UserError, match=sentence):
        convert(Net(), layers=layers)


@pytest.mark.parametrize("kind", ["sampled", "local", "flipout", "mnf"])
def test_frozen_layers_stay_as_they_are(kind):
    """Their outputs do not move, nor do they train, and the KL is that of the rest."""
    net = nn.Sequential(nn.Linear(3, 8), nn.LayerNorm(8), nn.ReLU(), nn.Linear(8, 1))
    net[:2].requires_grad_(False)
    bayes, seen = convert(net, kind, sigma=1.0), []
    bayes.network[1].register_forward_hook(lambda module, inputs, output: seen.append(output))
    assert (bayes(X)[0] != bayes(X)[0]).any()
    assert_close(seen[0], seen[1], rtol=0, atol=0)
    assert_close(seen[0], net[1](net[0](X)), rtol=0, atol=0)
    assert [name for name, value in bayes.named_parameters() if value.requires_grad and "network.3" not in name] == []
    assert list(bayes.scales()) == ["3.weight", "3.bias"]


def test_frozen_in_part_or_in_whole_is_refused():
    net = nn.Linear(3, 2).requires_grad_(False)
    with pytest.raises(UserError, match=r"are frozen.*`requires_grad_\(\)`"):
        convert(net)
    net.bias.requires_grad_(True)
    with pytest.raises(UserError, match="trains its bias alone; freeze all"):
        convert(nn.Sequential(net, nn.Linear(2, 2)))


def convolutional():
    net = nn.Sequential(
        nn.Conv2d(1, 4, 3),
        nn.BatchNorm2d(4),
        nn.ReLU(inplace=True),
        nn.Flatten(),
        nn.Linear(144, 3),
    )
    with torch.no_grad():
        net[1].weight.copy_(torch.linspace(0.5, 2, 4))
        net[1].bias.copy_(torch.linspace(-1, 1, 4))
    net(torch.randn(32, 1, 8, 8, generator=GENERATOR))
    return net


@pytest.mark.parametrize("kind", ["sampled", "local", "flipout", "mnf"])
def test_norms_in_eval_mode_are_fixed_maps(kind):
    """Of running statistics, also after `train()`: an example's output knows no other, and nothing in them moves."""
    net, x = convolutional().eval(), torch.randn(5, 1, 8, 8, generator=GENERATOR)
    twin = convert(net, kind, sigma=0.0).train()
    assert_close(twin(x)[0], net(x))
    bayes = convert(net, kind).train()
    norm = bayes.network[1]
    before = copy.deepcopy(norm.state_dict())
    output, kl = bayes(x)
    assert output.shape == (5, 3)
    (output.sum() + kl).backward()
    assert_close(norm.state_dict(), before, rtol=0, atol=0)
    assert not any(value.requires_grad for value in norm.parameters())
    assert not norm.training
    assert bayes.network[0].training
    one, many = (twin(rows)[0][0] for rows in (x[:1], x))
    assert_close(one, many)
    bayes.network.load_state_dict(net.state_dict(), strict=False)  # its names are the plain network's
    assert norm.state_dict().keys() == net[1].state_dict().keys()


@pytest.mark.parametrize(
    "make", [lambda: nn.BatchNorm1d(4, track_running_stats=False).eval(), lambda: nn.BatchNorm1d(4)]
)
@pytest.mark.parametrize("layers", [None, ["0"]])
def test_norms_over_batches_are_refused_wherever_they_stand(make, layers):
    with pytest.raises(UserError, match=r"'1' \(BatchNorm1d\) makes an example's output depend on its batch"):
        convert(nn.Sequential(nn.Linear(3, 4), make(), nn.Linear(4, 1)), layers=layers)


def test_norms_of_every_dimension():
    for net, shape in [
        (nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4)), (5, 3)),
        (nn.Sequential(nn.BatchNorm3d(2), nn.Flatten(), nn.Linear(16, 1)), (5, 2, 2, 2, 2)),
        (nn.Sequential(nn.Linear(3, 4), nn.SyncBatchNorm(4)), (5, 3)),
    ]:
        net.eval()
        x = torch.randn(shape, generator=GENERATOR)
        assert_close(convert(net, sigma=0.0).train()(x)[0], net(x))


@pytest.mark.parametrize("layers", [None, ["fc"]])
def test_a_residual_network_of_torchvision(layers):
    net = resnet18(num_classes=3).eval()
    x = torch.randn(2, 3, 32, 32, generator=GENERATOR)
    assert_close(convert(net, layers=layers, sigma=0.0)(x)[0], net(x), rtol=1e-4, atol=1e-4)
    bayes = convert(net, layers=layers).train()
    output, kl = bayes(x)
    (output.logsumexp(-1).sum() + kl).backward()
    assert all(value.grad.isfinite().all() for value in bayes.parameters() if value.requires_grad)
    assert len(bayes.scales()) == (2 if layers else 22)
    assert (bayes.sample(x, 2)[0] != bayes.sample(x, 2)[1]).any()


def tied(embedding):
    """A weight that two layers hold."""
    net = nn.ModuleDict({"a": nn.Linear(3, 3), "b": embedding})
    net["b"].weight = net["a"].weight
    return net


def kept(name, value):
    net = nn.Sequential(nn.Linear(3, 3))
    setattr(net, name, value(net[0]))
    return net


def storage():
    net = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3))
    net[1].weight = nn.Parameter(net[0].weight.data)
    return net


def patched():
    net = nn.Sequential(nn.Linear(3, 3))
    net[0].forward = lambda x: x
    return net


@pytest.mark.parametrize(
    ("make", "layers", "sentence"),
    [
        (lambda: tied(nn.Embedding(3, 3)), ["a"], "'a.weight' and 'b.weight' are one tensor, drawn in one place"),
        (lambda: tied(nn.Linear(3, 3)), ["b"], "'b.weight' and 'a.weight' are one tensor, drawn in one place"),
        (lambda: tied(nn.Linear(3, 3)), None, "'a.weight' and 'b.weight' are one tensor, whose KL would count twice"),
        (storage, None, "'0.weight' and '1.weight' are one tensor"),
        (lambda: kept("mine", lambda layer: [layer.weight]), None, "'0.weight' and 'mine' are one tensor"),
        (lambda: kept("mine", lambda layer: {"w": layer.bias.data}), None, "'0.bias' and 'mine' are one tensor"),
        (patched, None, "'0'.*had its `forward` replaced"),
        (lambda: nn.DataParallel(nn.Linear(3, 3)), None, "wraps a network; convert the one inside"),
        (lambda: torch.compile(nn.Linear(3, 3)), None, "wraps a network; convert the one inside"),
        (lambda: convert(nn.Linear(3, 3)), None, "comes from `convert` already"),
        (lambda: nn.Linear(3, 3, dtype=torch.complex64), None, "torch.complex64"),
        (lambda: torch.ones(3), None, "takes a network .* not a Tensor"),
    ],
)
def test_networks_whose_weights_are_not_their_layers_own_are_refused(make, layers, sentence):
    with pytest.raises(UserError, match=sentence):
        convert(make(), layers=layers)


def test_what_is_tied_beside_the_chosen_layers_stays():
    net = nn.ModuleDict({"tied": tied(nn.Embedding(3, 3)), "head": nn.Linear(3, 1)})
    assert bayesian(convert(net, layers=["head"])) == ["head"]


def test_one_layer_under_two_names_counts_once_under_either():
    layer = nn.Linear(3, 3)
    net = nn.ModuleDict({"a": layer, "b": layer})
    for layers in (None, ["a"], ["b"]):
        assert_close(convert(net, layers=layers).kl(), convert(layer).kl(), rtol=0, atol=0)


@pytest.mark.parametrize("wrong", [{"sigma": "1"}, {"prior_scale": "1"}, {"seed": 0.5}, {"kind": ["local"]}])
def test_settings_of_another_type_are_refused(wrong):
    with pytest.raises(UserError, match=r"1|0\.5|local"):
        convert(nn.Linear(3, 3), **wrong)
