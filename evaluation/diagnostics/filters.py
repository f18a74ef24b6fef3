"""filters: norms of the first layer's filters, gradient alignment without each, feature maps."""

from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import nn
from torch.linalg import vector_norm

from bench.method import Cost
from bench.runs.record import Value
from evaluation.attack import Found
from evaluation.diagnostic import Diagnostic
from evaluation.diagnostics.gradient_alignment import GradientAlignment
from evaluation.moves import fgsm_move

MAPS = 50_000  # bytes of images and their maps in a file, at most


@dataclass(frozen=True, kw_only=True)
class Filters(Diagnostic):
    """Which filter of the first convolution bends the loss.

    Source: Andriushchenko and Flammarion, NeurIPS 2020, arXiv:2007.02617, figures 5 to 7.
    Cite: andriushchenko2020understanding
    Meaning: gradient alignment with the filter of the largest outgoing norm set to zero

        norm.i     = ||w_i||_2 of filter i of the first convolution
        outgoing.i = ||v_i||_2 of the next layer's weights that read its map
        without.i  = gradient alignment where w_i and its bias are 0
        map        = the first convolution's output at x and at x + d, d of FGSM

    Shapes: w (F, C, k, k), kept as the array `filter`; v_i (classes, 1, H W) after one layer;
        image (n, 2, C, H, W) in 1/255 and map (n, 2, F, h, w) of the first n images, as many as
        50 kB hold.
    Cost: 2 (F + 1) forward and backward.
    Differs: nothing; where several layers read the maps, v is the first one's.
    """

    norms = ("Linf", "L2")
    values = {
        "alignment": ("cosine", -1, 1),
        "alignment_without_largest": ("cosine", -1, 1),
    }
    arrays = ("filter", "image", "map")

    images: int = 256

    cost = Cost(10, 10)  # of GradAlign's network, which has 4 filters

    def evaluate(self, task):
        """Measure the network, and the same without each of its filters."""
        task = task._replace(x=task.x[: self.images], y=task.y[: self.images])
        first, after = layers(task.net)
        outgoing = outgoing_norms(first, after)
        whole = alignment(task)
        values = {}
        for i, w in enumerate(first.weight.detach()):
            with without(first, i):
                values[f"without.{i}"] = alignment(task)
            values[f"norm.{i}"] = Value(value=vector_norm(w).item(), unit="L2 norm", n=whole.n)
            values[f"outgoing.{i}"] = Value(value=outgoing[i].item(), unit="L2 norm", n=whole.n)
        largest = values[f"without.{int(outgoing.argmax())}"]
        values |= {"alignment": whole, "alignment_without_largest": largest}
        arrays = {"filter": first.weight.detach().cpu().clone(), **feature_maps(task, first)}
        return Found(values=values, arrays=arrays)


def layers(net):
    """Return the first convolution and the next layer of weights, which reads its maps.

    Raises:
        ValueError: the network has no convolution, or nothing after it.
    """
    weighted = [one for one in net.modules() if isinstance(one, nn.Conv2d | nn.Linear)]
    for one, after in pairwise(weighted):
        if isinstance(one, nn.Conv2d):
            return one, after
    raise ValueError("the network has no convolution with a layer after it, so no filters")


def outgoing_norms(first, after):
    """Return the norm of the weights that read each filter's map, (F,)."""
    by_map = after.weight.detach().reshape(len(after.weight), len(first.weight), -1)
    return vector_norm(by_map, dim=(0, 2))


def feature_maps(task, first):
    """Return the first images, each beside what FGSM makes of it, and their maps; small."""
    bytes_of_one = 2 * (2 * output(task.net, first, task.x[:1]).numel() + task.x[0].numel())
    n = MAPS // bytes_of_one
    x, y = task.x[: max(n, 1)], task.y[: max(n, 1)]  # not every network takes no image at all
    both = torch.stack([x, x + fgsm_move(task.net, x, y, task.threat)], 1)
    maps = output(task.net, first, both.flatten(0, 1)).unflatten(0, (-1, 2))
    return {"image": (255 * both[:n]).round().byte().cpu(), "map": maps[:n].half().cpu()}


def output(net, layer, x):
    """Return what a layer makes of images."""
    found = []
    hook = layer.register_forward_hook(lambda *call: found.append(call[-1]))
    try:
        with torch.no_grad():
            net(x)
    finally:
        hook.remove()
    return found[0]


@contextmanager
def without(layer, i):
    """Set a filter and its bias to zero for a while."""
    tensors = [layer.weight.detach(), *([] if layer.bias is None else [layer.bias.detach()])]
    kept = [tensor[i].clone() for tensor in tensors]
    try:
        for tensor in tensors:
            tensor[i] = 0
        yield
    finally:
        for tensor, old in zip(tensors, kept, strict=True):
            tensor[i] = old


def alignment(task):
    """Measure gradient alignment, with the same draws each time."""
    return GradientAlignment().evaluate(task).values["gradient_alignment"]
