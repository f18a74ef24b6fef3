"""Sub-AT, which follows another training's weights: formula and limits."""

import pytest
import torch
from formulas import (
    EPS,
    IMAGES,
    LABELS,
    Small,
    boxed,
    cut,
    follow,
    nll,
    noise,
    run_of,
    slope,
    whole,
)

from methods import load

K = 6  # vectors of weights


def way_of(vectors):
    """The way of a source: vectors (K, n) in double precision, cut into a small network's weights.

    Returns:
        What a method reads of it.
    """
    shapes = [w.shape for w in Small().parameters()]
    sizes = [shape.numel() for shape in shapes]
    return lambda: [
        part.reshape(-1, *shape)
        for part, shape in zip(vectors.split(sizes, 1), shapes, strict=True)
    ]


def drawn(count=K):
    n = sum(w.numel() for w in Small().parameters())
    generator = torch.Generator().manual_seed(5)
    return torch.randn(count, n, generator=generator, dtype=torch.float64).cumsum(0)


def state_of(method, vectors):
    return method.init(run_of()._replace(way=way_of(vectors)))


def principal(vectors, count):
    """Directions (count, n) by torch's own decomposition of the centred matrix."""
    return torch.linalg.svd(vectors - vectors.mean(0), full_matrices=False)[2][:count]


def fgsm_rs(net, x, y, r, alpha):
    eta = boxed(noise(x, r * EPS), x)
    g = slope(lambda z: nll(net(z), y).mean(), x + eta)
    return cut(eta + alpha * EPS * g.sign(), x, r * EPS)


def test_sub_at_is_its_formula():
    vectors = drawn()
    plane = principal(vectors, 3)
    method = load("sub_at")(eps=EPS, components=3)

    def formula(net, x, y, k):
        d = fgsm_rs(net, x, y, 2, 2.5)
        value, weights = nll(net(x + d), y).mean(), [*net.parameters()]
        grads = torch.cat([h.flatten() for h in torch.autograd.grad(value, weights)])
        inside = (plane.t() @ (plane @ grads)).split([w.numel() for w in weights])
        along = sum((h * w.flatten()).sum() for h, w in zip(inside, weights, strict=True))
        return x + d, value.detach() + along - along.detach()  # whose gradient is the inside

    follow(method, formula, state=state_of(method, vectors))


def test_sub_at_stays_on_the_plane_through_its_first_weights():
    vectors, net = drawn(), Small()
    method = load("sub_at")(eps=EPS, components=3)
    plane, first = principal(vectors, 3), weights_of(net)
    seen = []

    def descend(loss, at, g=None, edit=None):
        net.zero_grad()
        loss(at).backward()
        edit()
        with torch.no_grad():
            for w in net.parameters():
                w -= 0.1 * w.grad
        seen.append(weights_of(net) - first)

    for _ in range(4):
        method.step(net, whole(IMAGES, LABELS), state_of(method, vectors), descend)
    assert seen[-1].norm() > 0.01
    assert torch.allclose(plane.t() @ (plane @ seen[-1]), seen[-1], atol=1e-12)


def weights_of(net):
    return torch.cat([w.detach().flatten() for w in net.parameters()])


def test_sub_at_in_all_directions_is_fgsm_rs():
    vectors = drawn(90)
    method = load("sub_at")(eps=EPS, radius=1.0, alpha=1.25, components=vectors.shape[1])

    def formula(net, x, y, k):
        d = fgsm_rs(net, x, y, 1, 1.25)
        return x + d, nll(net(x + d), y).mean()

    follow(method, formula, state=state_of(method, vectors))


def test_directions_are_orthonormal_and_say_what_they_explain():
    vectors = drawn()
    state = state_of(load("sub_at")(components=2), vectors)
    assert torch.allclose(state.P @ state.P.t(), torch.eye(2, dtype=torch.float64), atol=1e-12)
    spread = torch.linalg.svdvals(vectors - vectors.mean(0)).square()
    assert state.explained.item() == pytest.approx((spread[:2].sum() / spread.sum()).item())
    most = state_of(load("sub_at")(components=K - 1), vectors)
    assert most.explained.item() == pytest.approx(1.0)


@pytest.mark.parametrize("components", [K, K + 1])
def test_more_directions_than_there_are_are_refused(components):
    with pytest.raises(ValueError, match=f"6 vectors of weights have fewer than {components}"):
        state_of(load("sub_at")(components=components), drawn())


def test_sub_at_without_a_way_is_refused():
    with pytest.raises(ValueError, match="reads weights along another run's training, and has non"):
        load("sub_at")().init(run_of())
