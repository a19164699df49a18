"""How a converted network is called: its own inputs, the key, outputs of any structure."""

import collections
import copy
import dataclasses
import pickle

import numpy as np
import pytest
import torch
from torch import nn
from torch.testing import assert_close

from bnnbench import random
from bnnbench.errors import UserError
from bnnbench.layers import convert

KEY = random.key(7)
X = torch.randn(5, 3, generator=torch.Generator().manual_seed(0))


class Masked(nn.Module):
    """Of several inputs, the last of them by name alone."""

    def __init__(self):
        super().__init__()
        self.a = nn.Linear(3, 2)

    def forward(self, x, mask=None, *, power=1):
        h = self.a(x) ** power
        return h if mask is None else h * mask


@pytest.mark.parametrize("mask", [torch.zeros(5, 2, dtype=torch.bool), torch.zeros(5, 2).long(), torch.zeros(2)])
def test_further_inputs_reach_the_network(mask):
    """And are no keys: the counter draws on."""
    bayes = convert(Masked())
    assert not bayes(X, mask)[0].any()
    assert not bayes.sample(X, mask, 3).any()
    first, second = bayes(X, mask + 1)[0], bayes(X, mask=mask + 1)[0]
    assert (first != second).any()
    assert_close(bayes(X, mask + 1, key=KEY)[0], bayes(X, key=KEY)[0], rtol=0, atol=0)
    assert_close(bayes(X, power=2, key=KEY)[0], bayes(X, key=KEY)[0] ** 2, rtol=0, atol=0)
    assert_close(bayes.sample(X, power=2, samples=3, key=KEY), bayes.sample(X, 3, key=KEY) ** 2, rtol=0, atol=0)


def test_a_key_by_position_is_one_only_where_the_network_has_no_room_for_it():
    bayes = convert(nn.Linear(3, 2))
    assert_close(bayes(X, KEY)[0], bayes(X, key=KEY)[0], rtol=0, atol=0)
    assert_close(bayes.sample(X, 4, KEY), bayes.sample(X, samples=4, key=KEY), rtol=0, atol=0)
    masked = convert(Masked())
    assert_close(masked(X, torch.ones(2), KEY)[0], masked(X, key=KEY)[0], rtol=0, atol=0)
    with pytest.raises(UserError, match=r"int32 tensor of shape \[2\].*`key=\.\.\.`"):
        masked(X, KEY)
    assert not masked(X, mask=torch.zeros(2, dtype=torch.int32))[0].any()


class Ids(nn.Module):
    def __init__(self):
        super().__init__()
        self.a = nn.Linear(1, 1)

    def forward(self, ids, *others):
        return self.a(ids[:, None].float()) + len(others)


def test_a_single_input_is_never_the_key():
    ids = torch.tensor([3, 4], dtype=torch.int32)
    assert convert(Ids())(ids)[0].shape == (2, 1)
    assert convert(Ids())(ids, X, X)[0].shape == (2, 1)
    with pytest.raises(UserError, match="may be a key or an input"):
        convert(Ids())(ids, ids)


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (lambda b: b(X, 7), r"The number 7 by position is no key.*`key=bnnbench.random.key\(7\)`"),
        (lambda b: b(X, np.int64(7)), "The number 7 by position"),
        (lambda b: b(X, key=7), "not 7"),
        (lambda b: b(X, key=torch.tensor([1.0, 2.0])), r"not a tensor \[2\] of torch.float32"),
        (lambda b: b(X, key=torch.tensor([1, 2])), r"not a tensor \[2\] of torch.int64"),
        (lambda b: b(X, key=random.split(KEY, 3)), r"not a tensor \[3, 2\] of torch.int32"),
        (lambda b: b.kl(7), "not 7"),
        (lambda b: b.sample(X), "`samples=20`"),
        (lambda b: b.sample(X, 0), "one draw or more, not 0"),
        (lambda b: b.sample(X, 2.5), "one draw or more"),
        (lambda b: b.sample(X, True), "one draw or more"),
        (lambda b: b.sample(X, 3, 4), "one draw or more"),
        (lambda b: b.sample(X, samples="3"), "one draw or more, not 3"),
        (lambda b: b.sample(X, 3, key=3), "not 3"),
    ],
)
def test_what_is_no_key_and_no_number_of_draws_is_refused(call, sentence):
    with pytest.raises(UserError, match=sentence):
        call(convert(Masked()))


Named = collections.namedtuple("Named", ["mean", "scale"])


@dataclasses.dataclass
class Record:
    mean: torch.Tensor
    scale: torch.Tensor
    loss: torch.Tensor | None = None
    name: str = "heads"


class Heads(nn.Module):
    def __init__(self, made):
        super().__init__()
        self.a, self.b, self.made = nn.Linear(3, 2), nn.Linear(3, 1), made

    def forward(self, x):
        return self.made(self.a(x), self.b(x))


@pytest.mark.parametrize(
    ("made", "parts"),
    [
        (lambda a, b: (a, b), lambda out: out),
        (lambda a, b: [a, (b, None)], lambda out: (out[0], out[1][0])),
        (lambda a, b: {"mean": a, "deep": {"scale": b}}, lambda out: (out["mean"], out["deep"]["scale"])),
        (lambda a, b: collections.OrderedDict(mean=a, scale=b), lambda out: tuple(out.values())),
        (Named, lambda out: (out.mean, out.scale)),
        (Record, lambda out: (out.mean, out.scale)),
    ],
)
def test_outputs_of_every_structure_are_stacked(made, parts):
    """Each part is that of the calls one by one, and the structure is the network's own."""
    bayes = convert(Heads(made))
    out = bayes.sample(X, 4, key=KEY)
    single = [bayes(X, key=key)[0] for key in random.split(KEY, 4)]
    assert type(out) is type(single[0])
    for i, part in enumerate(parts(out)):
        assert_close(part, torch.stack([parts(one)[i] for one in single]), rtol=0, atol=0)
    if isinstance(out, Record):
        assert (out.loss, out.name) == (None, "heads")


def test_outputs_that_cannot_be_stacked_are_refused():
    with pytest.raises(UserError, match="a float that differs from draw to draw"):
        convert(Heads(lambda a, b: (a, float(b.sum())))).sample(X, 3)
    with pytest.raises(UserError, match="shape that differs from draw to draw"):
        convert(Heads(lambda a, b: a[: int(b[0, 0] * 1e4) % 5]), sigma=1.0).sample(X, 9)


def test_a_network_s_own_mistakes_stay_its_own():
    with pytest.raises(TypeError, match="positional arguments"):
        convert(nn.Linear(3, 2))(X, torch.ones(2))


def test_a_pickled_network_draws_on_where_it_was():
    bayes = convert(Masked(), "mnf")
    bayes(X)
    again, copied = pickle.loads(pickle.dumps(bayes)), copy.deepcopy(bayes)
    expected = bayes(X)
    for other in (again, copied):
        assert_close(other(X), expected, rtol=0, atol=0)
