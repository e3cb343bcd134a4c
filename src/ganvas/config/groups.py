"""The knobs that all families share: data, loss, balance of G and D, optimisation, and runtime."""

from dataclasses import dataclass
from typing import Literal

from ganvas.data.options import Channels, DataOptions, Fit
from ganvas.schedule import ScheduleSpec


@dataclass(frozen=True, kw_only=True)
class DatasetConfig:
    """The data set, and how its images are prepared."""

    data: str = "digits"
    """Training images: digits, a folder, a zip, an IDX folder, CIFAR-10, .npz, mnist, hf:owner/name …"""
    resolution: str | None = None
    """Height, or HEIGHTxWIDTH; by default that of the images, if all have the same."""
    channels: Channels | None = None
    """1 grey, 3 RGB, 4 RGBA; by default those of the images."""
    fit: Fit = "crop"
    """How images with another aspect ratio are brought to the resolution."""
    max_bad: float = 0.05
    """The fraction of unreadable images above which training is refused."""
    conditional: bool = False
    """Train class-conditional networks: G and D get the class of each image."""
    mirror: bool = False
    """Flip images horizontally with probability 0.5."""
    balanced: bool = False
    """Draw every class equally often, whatever its share of the data."""

    def options(self) -> DataOptions:
        """The part of this that `ganvas.data` needs.

        Raises:
            GanvasError: a resolution that cannot be read, or another value out of bounds.
        """
        return DataOptions(self.data, "train", self.resolution, self.channels, self.fit, self.max_bad)


ObjectiveName = Literal["minimax", "non-saturating", "least-squares", "hinge", "wasserstein", "rpgan", "rahinge"]


@dataclass(frozen=True, kw_only=True)
class LossConfig:
    """The loss, its penalties, and the augmentation. Some values can have a schedule (see `ganvas.schedule`)."""

    objective: ObjectiveName = "rpgan"
    """The losses of G and D; see `ganvas.game.objectives`."""
    r1: ScheduleSpec = 0.0
    """γ of the gradient penalty on real images (γ/2 · E|∇D|²); 0 = none."""
    r2: ScheduleSpec = 0.0
    """γ of the gradient penalty on generated images."""
    gp: ScheduleSpec = 0.0
    """λ of WGAN-GP's penalty between real and generated images (λ · E(|∇D| - 1)²); 10 in the paper."""
    dragan: ScheduleSpec = 0.0
    """λ of DRAGAN's penalty around real images (λ · E(|∇D| - 1)²); 10 in the paper."""
    penalty_every: int = 1
    """Apply the penalties only in every n-th update of D, scaled up by n (lazy regularisation)."""
    clip: float = 0.0
    """Clip D's weights to ± this after each update (WGAN; 0.01 in the paper); 0 = never."""
    spectral_norm: bool = False
    """Spectral norm: divide each weight matrix of D by its largest singular value."""
    label_smoothing: float = 0.0
    """One-sided label smoothing: the target of reals is 1 minus this; 0.1 in the paper."""
    noise: ScheduleSpec = 0.0
    """Instance noise: standard deviation of Gaussian noise on all inputs of D; 2 is the whole range of a pixel."""
    augment: Literal["none", "diffaugment", "ada"] = "none"
    """Augmentation of all inputs of D: colour, translation and cutout, or ADA's pipe. See `ganvas.game.augment`."""
    augment_p: ScheduleSpec = 1.0
    """Probability of each transformation."""
    ada_target: float = 0.0
    """Adapt `augment_p`, from 0 on, to keep D's overfitting E[sign D(x)] at this target; 0.6 in the paper; 0 = off."""
    ada_kimg: float = 500.0
    """Thousands of images in which the adaptive p can rise from 0 to 1."""
    shared_fakes: bool = True
    """Use the fakes of D's last update for G's update too; otherwise G generates new ones."""

    @property
    def critic(self) -> bool:
        """Whether D is a critic that estimates a distance, not a classifier; its loss then has no natural zero."""
        return self.objective == "wasserstein"


@dataclass(frozen=True, kw_only=True)
class BalanceConfig:
    """The balance of G and D: how often each is updated."""

    d_steps: int = 1
    """Updates of D in a round, each on new images."""
    g_steps: int = 1
    """Updates of G in a round."""
    skip_d_below: float | None = None
    """Skip updates of D while its loss is below this."""
    skip_g_below: float | None = None
    """Skip updates of G while its loss is below this."""
    loss_change: float = 0.0
    """Update only the network whose loss changes faster: D if its relative change is more than this many times G's
    (Ouyang & Agam 2021); 0 = update both."""


@dataclass(frozen=True, kw_only=True)
class OptimisationConfig:
    """Batches, the optimisers of both networks, and the moving average of the generator."""

    batch: int = 64
    """Real images in each update of D, over all processes."""
    microbatch: int | None = None
    """Images per forward pass on each process, with gradient accumulation; saves memory. By default the whole batch."""
    optimiser: Literal["adam", "rmsprop"] = "adam"
    """The optimiser of both networks."""
    g_lr: ScheduleSpec = 2e-4
    """Learning rate of the generator."""
    d_lr: ScheduleSpec = 2e-4
    """Learning rate of the discriminator."""
    beta1: float = 0.0
    """Decay rate of Adam's first moment."""
    beta2: ScheduleSpec = 0.99
    """Decay rate of Adam's second moment, or of RMSprop's average."""
    ema: ScheduleSpec = 10.0
    """Half-life of the generator's moving average of weights, in kimg; 0 = no average."""
    ema_warmup: float = 0.05
    """Limit the half-life to this fraction of the images shown so far; 0 = no limit."""


@dataclass(frozen=True, kw_only=True)
class RuntimeConfig:
    """How often results are written, and where the run computes. These may change when a run is resumed.

    They do not change the results, except `threads` and `device` (rounding) and `on_failure`.
    """

    tick_kimg: float = 4.0
    """kimg between two lines of stats.jsonl."""
    snapshot_kimg: float | None = None
    """kimg between two snapshots (weights, grid of images, state); by default a tenth of the run."""
    keep_kimg: float | None = None
    """Keep the snapshots at multiples of this many kimg; by default only the last one (and the best)."""
    evaluate_every: float | None = None
    """kimg between two quality measurements (a kernel distance of 250 to 2,000 images, as many as 5 % of the time
    allow); the best snapshot is kept in snapshots/best; by default with every snapshot; 0 = never."""
    evaluate_at_end: bool = False
    """Evaluate the last snapshot in full at the end, as ganvas evaluate does."""
    watch: bool = True
    """With every line of stats.jsonl, diagnose the run and report failures; see ganvas diagnose."""
    on_failure: Literal["warn", "stop", "rollback", "correct"] = "warn"
    """What to do about a diagnosed failure (see ganvas diagnose): only warn; stop; roll back to the best state and
    change learning rates, penalties or augmentation; or correct these without rolling back."""
    max_recoveries: int = 3
    """The most times that a run is rolled back or corrected; after that it stops."""
    plot: bool = True
    """Redraw losses.png with each snapshot, in a separate process."""
    threads: int | None = None
    """CPU threads; by default as many as the networks can use."""
    device: str = "auto"
    """auto, cpu, cuda, cuda:1, mps."""
