"""The benchmark's baseline: a training loop as the field's codes usually write it.

It uses torch's own settings, optimiser and memory layout, two worker processes that crop pictures
one by one, and waits for the device once a batch to log the loss.
"""

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from bench.stages import setup
from bench.stages.job import Job

if TYPE_CHECKING:
    import torch

    from bench.data import Loaded


def baseline_steps(job: Job, loaded: "Loaded") -> Callable[[int], None]:
    """Return a function that takes so many training steps of the run's method."""
    import torch
    from torchvision import transforms

    from bench.method import Batch
    from bench.stages.train import make_trainer
    from bench.trainer import Descent
    from bench.view import Moved

    inside = setup.network(job, loaded)
    body = inside.body.to(memory_format=torch.contiguous_format)
    net = torch.nn.Sequential(transforms.Normalize(inside.mean, inside.std), body)
    method = setup.method(job)
    sgd = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9, weight_decay=5e-4)
    # the trainer gives the method's state; it takes no step
    trainer = make_trainer(job, loaded, quiet=True, engine="eager")
    (_, height, width), pad = loaded.info.shape, loaded.info.augment.pad
    corner = torch.zeros(job.config.protocol["batch"], dtype=torch.int64, device=job.device)
    view = Moved.crop(corner, corner, corner.bool(), (height, width), width + 2 * pad)
    batches = _batches(job, loaded)

    def descend(loss: Any, at: "torch.Tensor", g: Any = None, edit: Any = None) -> "torch.Tensor":
        z = at.detach().requires_grad_()
        value = loss(z)
        sgd.zero_grad()
        value.backward()
        if edit is not None:
            edit()
        sgd.step()
        value.item()  # as the field's codes log it
        assert z.grad is not None, "the loss does not depend on the images it was given"
        return z.grad

    def steps(count: int) -> None:
        for _ in range(count):
            x, y = (part.to(job.device) for part in next(batches))
            batch = Batch(x, y, torch.arange(len(x), device=job.device), view, trainer.share)
            method.step(net, batch, trainer.state, Descent(descend, trainer.ahead))

    return steps


def _batches(job: Job, loaded: "Loaded") -> "Iterator[list[torch.Tensor]]":
    """Yield images (B, C, H, W) in [0, 1] and labels (B,) without end, epoch after epoch."""
    import torch
    from torchvision import transforms

    images = loaded.images
    augmentation = transforms.Compose(
        [
            transforms.ToPILImage(),
            transforms.RandomCrop(loaded.info.shape[1], padding=loaded.info.augment.pad),
            transforms.RandomHorizontalFlip(),
            transforms.ToTensor(),
        ]
    )

    class Pictures(torch.utils.data.Dataset):
        def __len__(self) -> int:
            return len(images.train_y)

        def __getitem__(self, i: int) -> Any:
            return augmentation(images.train_x[i]), images.train_y[i]

    loader = torch.utils.data.DataLoader(
        Pictures(), job.config.protocol["batch"], shuffle=True, num_workers=2, drop_last=True,
        persistent_workers=True,
    )  # fmt: skip
    while True:
        yield from loader
