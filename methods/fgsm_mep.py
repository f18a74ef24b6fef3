"""FGSM-MEP: start from what the image's last visit, or the last batch, has left."""

from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch
import torch.nn.functional as F

from bench.method import Cost, Method, State
from bench.ops import corner, grad, project, soft


@dataclass(frozen=True, kw_only=True)
class FGSMMEP(Method):
    """FGSM from a prior, and a penalty on logits that move from the prior to the attack.

    Source: Jia et al., ECCV 2022, arXiv:2207.08859; code jiaxiaojunQAQ/FGSM-PGI at fc15cfe.
    Cite: jia2022prior
    Family: regularised

        D_i  = eps r at the start and every ``reset`` epochs, r = -1 or 1;  m_i = 0
        z_0  = f(x + D),  g = grad SCE(z_0, y)
        d    = P(D + eps sign(g))
        L    = SCE(f(x + d), y) + lam MSE(f(x + d), z_0)
        momentum (FGSM-MEP):  m <- g / |g|_1 + mu m,  D <- P(D + eps sign(m))
        epoch (FGSM-EP):      D <- d
        batch (FGSM-BP):      D <- d, one D for all batches
        SCE: a of the target on the label, the rest shared by the others

    Shapes: x, g, d (B, C, H, W); all D and m (N, C, H, W), of one batch in FGSM-BP; z_0 (B, K).
        |g|_1 is of the whole batch; MSE is the mean over all B K logits.
    Cost: 3 forward, 3 backward: z_0 is computed once more for the loss, which goes through it.
    Differs: [code] only FGSM-MEP is released; FGSM-EP and FGSM-BP are as generally known [known].
        D is added to an image's crop as it is, however its last visit was cropped and flipped, as
        there; ``aligned`` moves it with the image. x + D is not clipped, as there.
    """

    prior: Literal["momentum", "epoch", "batch"] = "momentum"  # what a visit leaves behind
    lam: float = 10.0  # weight of the penalty
    a: float = 0.6  # of the target, on the label
    mu: float = 0.3  # decay of m
    reset: int = 40  # epochs between resets
    aligned: bool = False  # D and m move with the image's crop and flip

    presets: ClassVar[dict[str, dict[str, Any]]] = {
        "cifar100": {"reset": 10},
        "tiny_imagenet": {"reset": 10},
    }
    smooths: ClassVar[bool] = True
    cost = Cost(forward=3, backward=3)

    def init(self, run):
        if self.aligned and run.canvas is None:
            raise ValueError(
                "FGSM-MEP with aligned = true moves perturbations with crop and flip, and the "
                "augmentation of this data set has neither; set aligned = false"
            )
        image = run.canvas[1:] if self.aligned and run.canvas else run.batch[1:]
        shape = run.batch if self.prior == "batch" else (run.images, *image)
        state = State(D=corner(torch.empty(shape, device=run.device), self.eps))
        if self.prior == "momentum":
            state["m"] = torch.zeros_like(state.D)
        return state

    def on_epoch(self, net, state, epoch):
        if epoch and epoch % self.reset == 0:
            state.D.copy_(corner(state.D, self.eps))
            if self.prior == "momentum":
                state.m.zero_()

    def step(self, net, batch, state, descend):
        x, y, eps = batch.x, batch.y, self.eps
        kept = torch.arange(len(x), device=x.device) if self.prior == "batch" else batch.rows
        D = self.seen(batch, state.D[kept])

        def sce(out):
            return F.cross_entropy(out, soft(y, self.a, out.shape[1]))

        g = grad(lambda z: sce(net(z)), at=x + D)
        d = project(D + eps * g.sign(), x, eps)

        def loss(z):
            z_0, out = net(x + D), net(z)
            return sce(out) + self.lam * F.mse_loss(out, z_0)

        descend(loss, at=x + d, g=g)
        if self.prior == "momentum":
            m = g / g.abs().sum().clamp(min=1e-30) + self.mu * self.seen(batch, state.m[kept])
            state.m[kept] = self.put(batch, m, state.m[kept])
            d = project(D + eps * m.sign(), x, eps)
        state.D[kept] = self.put(batch, d, state.D[kept])

    def seen(self, batch, stored):
        """What images see of what is stored for them."""
        return batch.view(stored) if self.aligned else stored

    def put(self, batch, new, stored):
        """What is to be stored for images in place of what is."""
        return batch.view.inverse(new, stored) if self.aligned else new
