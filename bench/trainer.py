"""The training loop: batches in order, one method's step on each, schedule and probe.

The loop holds no test image. Its probe is an opaque callback; nothing comes back from it but
numbers to log.
"""

import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from bench import checkpoint, snapshot
from bench.average import Average
from bench.batches import Batches
from bench.engine import WARM_UP, Captured, Compiled, beside, lacking
from bench.meter import Clock, Peak, state_bytes
from bench.method import Batch, Loss, Method, Run, State, Way
from bench.ops import learning, noisy, smooth, soft
from bench.optimizer import optimizer
from bench.runs.protocol import Protocol
from bench.runs.record import Engine, Epoch, Network, Segment
from bench.selection import Selection
from bench.signals import Asked, Stopped
from bench.steplog import Diverged, StepLog
from bench.traces import Traces

Probe = Callable[[nn.Module, int], dict[str, float]]  # (net, epoch) -> percent by name


@dataclass
class Outcome:
    """What the loop measured."""

    epochs: int
    updates: int
    train_seconds: float
    data_seconds: float
    probe_seconds: float
    peak_bytes: int | None
    state_bytes: int
    resumed: int
    segments: list[Segment] = field(default_factory=list)
    curves: list[Epoch] = field(default_factory=list)


@dataclass
class Descent:
    """What a step is given to descend with (bench.method.Descend)."""

    take: Callable[..., Tensor]
    ahead: Callable[[Sequence[Tensor]], list[Tensor]]

    def __call__(
        self,
        loss: Loss,
        at: Tensor,
        g: Tensor | None = None,
        edit: Callable[[], None] | None = None,
    ) -> Tensor:
        """Take one optimiser step on loss(at); return d loss / d at."""
        return self.take(loss, at, g, edit)


class Trainer:
    """One run of one method.

    Args:
        net: float32 images in [0, 1] to logits; trained in place.
        method: whose steps are taken.
        batches: of training images, on the device.
        protocol: epochs, rates and what the optimiser is.
        engine: how steps are run; ``bench.engine.choose`` says what is possible.
        probe: called after every epoch, on a clock of its own.
        traces: collects the numbers of all updates, and what else is asked for on the way.
        way: weights along another run's training, for a method that follows it.
        selection: the rule that chooses the best weights; None: the last ones alone are kept.
        folder: where checkpoints go; None for none.
        interval: least seconds between checkpoints; 0 for one after every batch.
        identity: names configuration, code and data; no checkpoint of another one is resumed.
        device_name: for the record.
        say: called with one line an epoch.
    """

    def __init__(
        self,
        net: nn.Module,
        method: Method,
        batches: Batches,
        protocol: Protocol,
        *,
        engine: Engine = "eager",
        probe: Probe | None = None,
        traces: Traces | None = None,
        way: Way | None = None,
        selection: Selection | None = None,
        folder: Path | None = None,
        interval: float = 30.0,
        identity: str = "",
        device_name: str = "",
        say: Callable[[str], None] = lambda line: None,
    ) -> None:
        self.net, self.method, self.batches, self.protocol = net, method, batches, protocol
        self.probe, self.folder, self.interval = probe, folder, interval
        self.selection, self.traces = selection, traces or Traces()
        self.identity, self.say = identity, say
        self.device = batches.y.device
        self.epochs = math.ceil(protocol.epochs / method.replays)
        self.updates = self.epochs * len(batches) * method.replays
        run = Run(
            self.device, batches.shape, batches.canvas, self.epochs, len(batches.y),
            batches.classes, getattr(net, "features", None), way,
        )  # fmt: skip
        self.state: State = method.init(run)
        self.optimizer = optimizer(protocol, net)
        if method.averages and ("tau" not in self.state or self.state.tau.dim()):
            raise ValueError(
                f"{type(method).__name__} declares averages = True, and its init makes no state "
                "tau of no dimensions"
            )
        self.average = Average(net) if protocol.ema or method.averages else None
        self.due = False  # an update is yet to be taken into the average
        self.log = StepLog(len(batches) * method.replays, method, self.state, run)
        # what changes from update to update is on the device, where a captured step finds it
        tau = (lambda k: float(k > 0)) if method.averages else protocol.tau  # of a method: a factor
        rates = [(protocol.lr(k, self.updates), protocol.momentum(k, self.updates), tau(k))
                 for k in range(self.updates)]  # fmt: skip
        self.rates = torch.tensor(rates, device=self.device)
        self.counters = torch.zeros(2, dtype=torch.int64, device=self.device)  # update, row
        self.share = torch.zeros((), device=self.device)
        self.images = torch.zeros(0)  # of the batch in hand
        self.engine = engine
        compiles = engine != "eager" and not method.twice
        if compiles and (lacks := lacking(self.device)):
            say(f"the network runs as written: {lacks}")
            compiles = False
        self.fast = Compiled(net) if compiles else net
        self.captured: Captured | None = None
        records = engine == "captured" and self.device.type == "cuda"
        self.stream = torch.cuda.Stream(self.device) if records else None  # that captures
        self.warm = 0  # steps taken on full batches
        self.update = self.first_epoch = self.first_batch = 0
        # the host's wait for a batch; waiting for the device there would slow training down
        self.clocks = {"data": Clock(torch.device("cpu"))}
        self.clocks |= {name: Clock(self.device) for name in ("train", "probe")}
        self.peak = Peak(self.device)
        self.outcome = Outcome(self.epochs, 0, 0.0, 0.0, 0.0, None, state_bytes(self.state), 0)
        self.segment = Segment(
            update=0, engine=engine, device=device_name, threads=torch.get_num_threads()
        )
        self.outcome.segments = [self.segment]

    def resume(self) -> None:
        """Go back to the newest checkpoint, if there is one.

        Raises:
            ValueError: it is damaged.
        """
        if self.folder is None or (found := checkpoint.newest(self.folder)) is None:
            return
        if found.facts["identity"] != self.identity:
            aside = checkpoint.set_aside(self.folder)
            self.say(f"the checkpoint is of other code or settings, and now in {aside}; starting "
                     "afresh")  # fmt: skip
            return
        snapshot.restore(self, found)
        self.say(f"resumed at update {self.update} of {self.updates}")

    def fit(self, asked: Asked = lambda: None) -> Outcome:
        """Train to the end, or until a signal asks to stop.

        Raises:
            Stopped: after a signal and the checkpoint from which the run goes on.
            Diverged: the loss, or a weight in the end, is not finite.
            ValueError: the method departs from what it declares.
        """
        self.net.train()
        if self.update == 0:
            self._trace(-1)
        kept = began = time.monotonic()
        pause = self.interval
        done_before = self.update
        for epoch in range(self.first_epoch, self.epochs):
            with self.clocks["train"].running():
                if self.first_batch == 0:
                    self.count(self.update, 0)
                    self.method.on_epoch(self.net, self.state, epoch)
                for i in range(self.first_batch, len(self.batches)):
                    before = self.update
                    self._step(epoch, i)
                    if self.selection and self.selection.is_due(before, self.update, self.updates):
                        with self.clocks["train"].paused():
                            self._choose(epoch)
                    if self.traces.is_due(before, self.update, self.updates):
                        with self.clocks["train"].paused():
                            self._trace(before)
                    now = time.monotonic()
                    if self.folder and (asked() or now - kept > pause):
                        self._keep(epoch, i + 1, asked)
                        kept = time.monotonic()
                        # a large state (ATAS: 1 GB on CIFAR-10) takes a twentieth of the time
                        if self.interval > 0:
                            pause = max(self.interval, 20 * (kept - now))
            self.first_batch = 0
            self._close_epoch(epoch)
            pace = (time.monotonic() - began) / max(self.update - done_before, 1)
            self._tell(epoch, left=pace * (self.updates - self.update))
            if self.folder and asked():
                self._keep(epoch + 1, 0, asked)
        self._check_weights()
        out = self.outcome
        out.updates, out.peak_bytes = self.update, self.peak.bytes
        out.train_seconds, out.data_seconds, out.probe_seconds = (
            self.clocks[name].seconds for name in ("train", "data", "probe")
        )
        return out

    def advance(self, steps: int) -> None:
        """Take some steps on full batches and nothing else; for measuring."""
        self.net.train()
        full = max(len(self.batches.y) // self.batches.batch, 1)
        for i in range(steps):
            self.update = self.log.row = 0
            self.counters.zero_()  # without waiting for the device
            self._step(0, i % full)

    def descend(
        self,
        loss: Loss,
        at: Tensor,
        g: Tensor | None = None,
        edit: Callable[[], None] | None = None,
    ) -> Tensor:
        """Take one optimiser step on loss(at); return d loss / d at (bench.method.Descend)."""
        self._settle()
        z = at.detach().requires_grad_()
        self.net.zero_grad()
        with learning(self.fast):
            value = loss(z)
            value.backward()  # weights and input in one pass
        if edit is not None:
            edit()
        self.optimizer.step(*self._rates())
        h = z.grad
        if h is None:
            raise ValueError("the loss given to descend does not depend on its images")
        self.log.write(self.counters[1:], self.images, at.detach(), value.detach(), g, h)
        self.counters += 1
        self.update += 1
        self.due = True
        return h

    def ahead(self, gradients: Sequence[Tensor]) -> list[Tensor]:
        """Return where the next update would move each weight by these, over the rate."""
        return self.optimizer.ahead(gradients, self._rates()[1])

    def _rates(self) -> tuple[Tensor, Tensor]:
        """Read the learning rate and the momentum of the next update, on the device."""
        lr, momentum, _ = self.rates.index_select(0, self.counters[:1])[0].unbind()
        return lr, momentum

    def _settle(self) -> None:
        """Take the last update into the average: once a step is over, or before its next update.

        By then a method that moved weights for the update has moved them back.
        """
        if self.average is not None and self.due:
            tau = self.rates.index_select(0, self.counters[:1] - 1)[0, 2]
            self.average.take(tau * self.state.tau if self.method.averages else tau)
        self.due = False

    def count(self, update: int, row: int) -> None:
        """Say which update, and which row of the log, comes next; both from 0."""
        self.update, self.log.row = update, row
        self.counters.copy_(torch.tensor([update, row]))

    def _keep(self, epoch: int, batch: int, asked: Asked) -> None:
        """Write a checkpoint before a batch of an epoch; stop there if a signal asks to."""
        assert self.folder is not None, "nowhere to keep a checkpoint"
        checkpoint.keep(self.folder, self.update, snapshot.take(self, epoch, batch))
        if name := asked():
            self.say(f"{name}: kept update {self.update} of {self.updates}; the same command goes "
                     "on from there")  # fmt: skip
            raise Stopped(name)

    def _step(self, epoch: int, i: int) -> None:
        with self.clocks["data"].running():
            batch = self.batches.take(epoch, i, self.share.fill_(self.update / self.updates))
            batch = batch._replace(y=smoothed(batch.y, self.protocol, self.batches.classes))
        full = len(batch.x) == self.batches.batch
        if self.captured is not None and full:
            self.captured(batch)
            self.log.row += self.method.replays
            self.update += self.method.replays
        else:
            with beside(self.stream if full else None):
                self._take(batch, self.fast if full else self.net)
            self.warm += full
            if self.engine == "captured" and full and self.warm == WARM_UP:
                self._capture(batch)

    def _take(self, batch: Batch, net: nn.Module) -> None:
        self.images = batch.x
        # torch's fused attention cannot be differentiated twice
        attention = sdpa_kernel(SDPBackend.MATH) if self.method.twice else nullcontext()
        with attention:
            self.method.step(net, batch, self.state, Descent(self.descend, self.ahead))
        self._settle()

    def _capture(self, example: Batch) -> None:
        """Record the step, which does not take it."""
        update, row = self.update, self.log.row
        self.count(update, 0)  # the log of an epoch may be full by now
        self.captured = Captured(lambda batch: self._take(batch, self.fast), example, self.stream)
        self.count(update, row)

    def _close_epoch(self, epoch: int) -> None:
        """Read the epoch's log, the only wait for the device, and evaluate."""
        means, columns = self.log.close(epoch, self.epochs)
        self.traces.add(columns)
        with self._beside_training():
            probe = {} if self.probe is None else self.probe(self.net, epoch)
        by_epoch = self.selection is not None and self.selection.every is None
        scores = self._choose(epoch) if by_epoch else {}
        if self.protocol.select != "validation":  # the score is none of held-out images
            scores = {}
        self.outcome.curves.append(
            Epoch(
                epoch=epoch,
                lr=self.protocol.lr(self.update - 1, self.updates),
                **means._asdict(),
                probe=probe,
                validation=scores.get("raw"),
                validation_average=scores.get("average"),
            )
        )

    def _choose(self, epoch: int) -> dict[Network, float]:
        """Have the rule score the weights of now, and keep them if they are the best."""
        assert self.selection is not None, "no rule to choose by"
        with self._beside_training():
            return self.selection.choose(self.net, self.average, epoch=epoch, update=self.update)

    def _trace(self, before: int) -> None:
        """Have weights kept and diagnostics read that fell due since an update."""
        with self._beside_training():
            self.traces.take(self.net, before, self.update, self.updates)

    @contextmanager
    def _beside_training(self) -> Iterator[None]:
        """Evaluate inside the block, whose time and memory are not those of training."""
        self.peak.note()
        with self.clocks["probe"].running():
            yield
            self.net.train()
        self.peak.forget()

    def _check_weights(self) -> None:
        """Refuse weights that no number of the log has shown: those of the last update."""
        tensors = self.net.state_dict()
        if self.average is not None:
            tensors |= {f"the average of {k}": v for k, v in self.average.tensors.items()}
        for name, tensor in tensors.items():
            if tensor.is_floating_point() and not tensor.isfinite().all():
                raise Diverged(f"{name} is not finite after the last update")

    def _tell(self, epoch: int, left: float) -> None:
        last = self.outcome.curves[-1]
        minutes, seconds = divmod(round(left), 60)
        scores = "".join(f"  {name} {value:.1f} %" for name, value in last.probe.items())
        self.say(
            f"epoch {epoch + 1}/{self.epochs}  loss {last.loss:.3f}{scores}  "
            f"{minutes}:{seconds:02d} left"
        )


def smoothed(y: Tensor, protocol: Protocol, classes: int) -> Tensor:
    """Smooth labels (B,) as a protocol says: (B, classes) then; as they are without smoothing."""
    s = protocol.smoothing
    if not s:
        return y
    if protocol.smoothing_form == "soft":
        return soft(y, 1 - s, classes)
    return (smooth if protocol.smoothing_form == "smooth" else noisy)(y, s, classes)
