"""The knobs that all families share: data, loss, balance of G and D, optimisation, and runtime."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, get_args

from ganvas import user_code
from ganvas.config.bounds import (
    BelowOne,
    Count,
    Finite,
    Fraction,
    Kimg,
    KimgOrNever,
    Natural,
    NonNegative,
    ScheduledBelowOne,
    ScheduledFraction,
    ScheduledNonNegative,
    Threads,
)
from ganvas.config.conflicts import Group, has_single_images
from ganvas.config.custom import describe_incomplete_groups, features_net_of, images_per_group, is_batch_normed
from ganvas.config.trackers import parse_trackers
from ganvas.data.options import Channels, DataOptions, Fit
from ganvas.errors import GanvasError
from ganvas.schedule import Schedule

if TYPE_CHECKING:
    from ganvas.config import TrainConfig


@dataclass(frozen=True, kw_only=True)
class DatasetConfig(Group):
    """The data set, and how its images are prepared."""

    data: str = "digits"
    """Training images: digits, a folder, a zip, an IDX folder, CIFAR-10, .npz, mnist, hf:owner/name …"""
    resolution: str | None = None
    """Height, or HEIGHTxWIDTH; by default that of the images, if all have the same of 8 to 256 pixels
    a side; else a square of 8 to 64. fast, a D with a frozen network and, on a CPU, runs by --minutes have at most 64
    pixels on the shorter side (fast on a GPU: 256); with --from it is that of the other generator."""
    channels: Channels | None = None
    """1 grey, 3 RGB, 4 RGBA; by default those of the images."""
    fit: Fit = "crop"
    """How images with another aspect ratio are brought to the resolution."""
    max_bad: Fraction = 0.05
    """The fraction of unreadable images above which training is refused."""
    label_column: str | None = None
    """The column of a table (CSV, Parquet, CelebA's list), or the array, whose values are the classes."""
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
        return DataOptions(
            self.data, "train", self.resolution, self.channels, self.fit, self.max_bad, self.label_column
        )


ObjectiveName = Literal[
    "minimax", "non-saturating", "least-squares", "hinge", "wasserstein", "rpgan", "rahinge",
]  # fmt: skip
AugmentationName = Literal["none", "translation", "diffaugment", "ada"]


@dataclass(frozen=True, kw_only=True)
class LossConfig(Group):
    """The loss, its penalties, and the augmentation. Some values can have a schedule (see `ganvas.schedule`)."""

    objective: ObjectiveName | str = "rpgan"
    """The losses of G and D; see `ganvas.game.objectives`. Or your own: MODULE:NAME or FILE.py:NAME of an Objective."""
    r1: ScheduledNonNegative = 0.0
    """γ of the gradient penalty on real images (γ/2 · E|∇D|²); 0 = none."""
    r2: ScheduledNonNegative = 0.0
    """γ of the gradient penalty on generated images."""
    gp: ScheduledNonNegative = 0.0
    """λ of WGAN-GP's penalty between real and generated images (λ · E(|∇D| - 1)²); 10 in the paper."""
    dragan: ScheduledNonNegative = 0.0
    """λ of DRAGAN's penalty around real images (λ · E(|∇D| - 1)²); 10 in the paper."""
    penalty_every: Count = 1
    """Apply the penalties only in every n-th update of D, scaled up by n (lazy regularisation)."""
    clip: NonNegative = 0.0
    """Clip D's weights to ± this after each update (WGAN; 0.01 in the paper); 0 = never."""
    spectral_norm: bool = False
    """Spectral norm: divide each weight matrix of D by its largest singular value."""
    label_smoothing: Fraction = 0.0
    """One-sided label smoothing: the target of reals is 1 minus this; 0.1 in the paper."""
    noise: ScheduledNonNegative = 0.0
    """Instance noise: standard deviation of Gaussian noise on all inputs of D; 2 is the whole range of a pixel."""
    augment: AugmentationName | str = "none"
    """Augmentation of all inputs of D: translation, or colour, translation and cutout (diffaugment), or ADA's pipe; see
    `ganvas.game.augment`. Or your own: MODULE:NAME or FILE.py:NAME of a function or module from images [n c h w] to
    images of this shape."""
    augment_p: ScheduledFraction = 1.0
    """Probability of each transformation; with your own augmentation, that it is applied to an image."""
    ada_target: BelowOne = 0.0
    """Adapt `augment_p`, from 0 on, to keep D's overfitting E[sign D(x)] at this target; 0.6 in the paper; 0 = off."""
    ada_kimg: Kimg = 500.0
    """Thousands of images in which the adaptive p can rise from 0 to 1."""
    shared_fakes: bool = True
    """Use the fakes of D's last update for G's update too; otherwise G generates new ones."""
    moments: ScheduledNonNegative = 0.0
    """Weight of moment matching in G's loss: means and deviations of frozen features (see `ganvas.game.moments`); for
    a D with a frozen network."""

    def __post_init__(self) -> None:
        for name, names in (("objective", ObjectiveName), ("augment", AugmentationName)):
            value = getattr(self, name)
            if user_code.is_spec(value):
                user_code.parse(value)
            elif value not in get_args(names):
                raise user_code.unknown(f"--{name} is {value!r}.", value, get_args(names))

    @property
    def critic(self) -> bool:
        """Whether D is a critic that estimates a distance, not a classifier; its loss then has no natural zero.

        The user's own objective says so itself, once it is loaded (`ganvas.game.objectives.get_objective`).
        """
        return getattr(user_code.known(self.objective), "critic", self.objective == "wasserstein")

    @property
    def signed_logits(self) -> bool:
        """Whether the sign of a logit means real or fake; not where only differences of logits matter."""
        return self.objective not in ("wasserstein", "rpgan", "rahinge")

    @property
    def cross_entropy(self) -> bool:
        """Whether the sigmoid of a logit is D's probability that an image is real."""
        return self.objective in ("minimax", "non-saturating")

    @property
    def penalised(self) -> bool:
        """Whether there is a gradient penalty at any time of the run."""
        return any(max(Schedule.parse(weight).ends) > 0 for weight in (self.r1, self.r2, self.gp, self.dragan))

    def conflicts(self, config: "TrainConfig") -> Iterator[GanvasError]:
        if self.label_smoothing > 0 and not self.cross_entropy:
            yield GanvasError(
                f"--label-smoothing with the {self.objective} objective.",
                expected="an objective with a cross-entropy loss: minimax or non-saturating",
                fix="leave --label-smoothing out.",
            )
        if self.ada_target > 0 and not self.signed_logits:
            yield GanvasError(
                f"--ada-target with the {self.objective} objective.",
                expected="an objective for which the sign of a logit indicates overfitting",
                fix="--objective non-saturating (or hinge) with --augment ada; or --augment-p 0..0.5 without "
                "--ada-target.",
            )
        if self.ada_target > 0 and self.augment == "none":
            yield GanvasError(
                "--ada-target without augmentation.",
                expected="an augmentation whose probability can be adapted",
                fix="--augment ada.",
            )
        if max(Schedule.parse(self.moments).ends) > 0 and not features_net_of(config.network):
            yield GanvasError(
                f"--moments with the {config.network.family} family.",
                expected="a D with a frozen feature network, whose features are compared",
                fix="leave --moments out, or train fast, or another generator with --d projected.",
            )
        if self.spectral_norm and self.clip > 0:
            yield GanvasError(
                f"--spectral-norm with --clip {self.clip}.",
                expected="one of the two: the clipped weights would be divided by their norm again",
                fix="leave one out.",
            )

    def warnings(self, config: "TrainConfig") -> Iterator[str]:
        if self.critic and not (self.penalised or self.clip or self.spectral_norm):
            yield "nothing bounds the critic's gradient (--gp, --clip, --spectral-norm): its loss may diverge."
        if self.augment == "ada" and not self.ada_target and max(Schedule.parse(self.augment_p).ends) > 0.8:
            fix = "--ada-target 0.6 adapts it." if self.signed_logits else "--augment-p 0..0.5 stays below."
            yield f"--augment ada with --augment-p above 0.8: G learns turned and inverted images too. {fix}"
        if self.augment == "none" and self.differs("augment_p"):
            yield "--augment-p has no effect without --augment."
        if not self.ada_target and self.differs("ada_kimg"):
            yield "--ada-kimg has no effect without --ada-target."
        corrects = config.runtime.on_failure in ("rollback", "correct")  # by penalties, among others
        if self.differs("penalty_every") and not self.penalised and not corrects:
            yield "--penalty-every has no effect without a gradient penalty (--r1, --r2, --gp, --dragan)."


@dataclass(frozen=True, kw_only=True)
class BalanceConfig(Group):
    """The balance of G and D: how often each is updated."""

    d_steps: Count = 1
    """Updates of D in a round, each on new images."""
    g_steps: Count = 1
    """Updates of G in a round."""
    skip_d_below: Finite | None = None
    """Skip updates of D while its loss is below this."""
    skip_g_below: Finite | None = None
    """Skip updates of G while its loss is below this."""
    loss_change: NonNegative = 0.0
    """Update only the network whose loss changes faster: D if its relative change is more than this many times G's
    (Ouyang & Agam 2021); 0 = update both."""

    def conflicts(self, config: "TrainConfig") -> Iterator[GanvasError]:
        if self.skip_d_below is None and self.skip_g_below is None:
            return
        if config.loss.critic:
            yield GanvasError(
                f"--skip-d-below or --skip-g-below with the {config.loss.objective} objective.",
                expected="a loss with a fixed zero; the level of a critic's loss does not show whether G or D is "
                "stronger",
                fix="--d-steps and --g-steps, or --loss-change 1.",
            )
        if self.loss_change > 0:
            yield GanvasError(
                "--loss-change with --skip-d-below or --skip-g-below.",
                expected="a single rule for skipping updates",
                fix="leave one out.",
            )


@dataclass(frozen=True, kw_only=True)
class OptimisationConfig(Group):
    """Batches, the optimisers of both networks, and the moving average of the generator."""

    batch: Count = 64
    """Real images in each update of D, over all processes."""
    microbatch: Count | None = None
    """Images per forward pass on each process, with gradient accumulation; saves memory. By default the whole batch."""
    optimiser: Literal["adam", "rmsprop"] = "adam"
    """The optimiser of both networks."""
    g_lr: ScheduledBelowOne = 2e-4
    """Learning rate of the generator."""
    d_lr: ScheduledBelowOne = 2e-4
    """Learning rate of the discriminator."""
    beta1: BelowOne = 0.0
    """Decay rate of Adam's first moment."""
    beta2: ScheduledBelowOne = 0.99
    """Decay rate of Adam's second moment, or of RMSprop's average."""
    ema: ScheduledNonNegative = 10.0
    """Half-life of the generator's moving average of weights, in kimg; 0 = no average."""
    ema_warmup: Fraction = 0.05
    """Limit the half-life to this fraction of the images shown so far; 0 = no limit. There is none where --from
    takes over the whole average of another training: it goes on."""

    def conflicts(self, config: "TrainConfig") -> Iterator[GanvasError]:
        if self.microbatch is not None and config.loss.objective == "rahinge":
            yield GanvasError(
                "--microbatch with the rahinge objective.",
                expected="the whole batch at once: each logit is compared with the mean over the batch",
                fix="leave --microbatch out, or the rpgan objective.",
            )
        if is_batch_normed(config.network) and has_single_images(self):
            flags = [f"--{which}-norm none" for which in "gd" if vars(config.network).get(f"{which}_norm") == "batch"]
            yield GanvasError(
                f"Batch norm in the {config.network.family} family with one image at a time.",
                expected="2 or more images at a time: batch norm normalises over the images of a batch",
                fix=f"a larger --batch or --microbatch{', or ' if flags else ''}{' '.join(flags)}.",
            )

    def warnings(self, config: "TrainConfig") -> Iterator[str]:
        for name, network in (("g_lr", "G"), ("d_lr", "D")):
            if not any(config.schedules()[name].ends):
                yield f"--{name.replace('_', '-')} is 0: {network} does not learn."
        if self.optimiser == "rmsprop" and self.differs("beta1"):
            yield "--beta1 has no effect with --optimiser rmsprop, which has no first moment."
        if self.microbatch and is_batch_normed(config.network):
            yield "batch norm normalises over --microbatch images: gradients are not those of the whole batch."
        group = images_per_group(config.network)
        for flag, images in (("--batch", self.batch), ("--microbatch", self.microbatch or 0)):
            if images % group:
                yield describe_incomplete_groups(f"{flag} {images} is", group)


@dataclass(frozen=True, kw_only=True)
class TransferConfig(Group):
    """What a training starts with, if not with random weights."""

    init_from: str | None = None
    """Start from the networks of this run, or of this generator (a snapshot, pretrained:digits28 …; without D), where
    shapes agree; also --from."""
    freeze_d: Natural = 0
    """Freeze the first layers of D, as many as this, at what they have learned (FreezeD); 0 = none. Of several heads,
    such as those of fast, the first layers of each."""

    def conflicts(self, config: "TrainConfig") -> Iterator[GanvasError]:
        if self.freeze_d and self.init_from is None:
            yield GanvasError(
                f"--freeze-d {self.freeze_d} without --from.",
                expected="a D that has learned something: random layers would stay random",
                fix="--from RUN, or leave --freeze-d out.",
            )


@dataclass(frozen=True, kw_only=True)
class RuntimeConfig(Group):
    """How often results are written, and where the run computes. These may change when a run is resumed.

    They do not change the results, except `threads`, `device` and `compile` (rounding), `precision` and `on_failure`.
    """

    tick_kimg: Kimg | None = None
    """kimg between two lines of stats.jsonl; by default 4, in a run by time (--minutes) at most a fortieth of it."""
    snapshot_kimg: Kimg | None = None
    """kimg between two snapshots (weights, grid of images, state); by default a tenth of the run, and at least
    --tick-kimg where its length is in kimg."""
    keep_kimg: Kimg | None = None
    """Keep the snapshots at multiples of this many kimg; by default only the last one (and the best)."""
    evaluate_every: KimgOrNever | None = None
    """kimg between two quality measurements (a kernel distance of 250 to 2,000 images, as many as 5 % of the time
    allow), once networks have grown; the best snapshot is kept in snapshots/best; by default with every snapshot;
    0 = never."""
    evaluate_at_end: bool = False
    """Evaluate the last snapshot in full at the end, as ganvas evaluate does."""
    watch: bool = True
    """With every line of stats.jsonl, diagnose the run and report failures; see ganvas diagnose."""
    on_failure: Literal["warn", "stop", "rollback", "correct"] = "warn"
    """What to do about a diagnosed failure (see ganvas diagnose): only warn; stop; roll back to the best state
    before it, where one is kept, and change learning rates, penalties or augmentation; or correct these without rolling
    back."""
    max_recoveries: Count = 3
    """The most times that a run is rolled back or corrected; after that it stops."""
    plot: bool = True
    """Redraw losses.png with a snapshot, at most once a minute, in a separate process; at the end make training.webp,
    a film of the images at every snapshot."""
    preview: bool = True
    """Show the newest images in the terminal, under the progress bar."""
    log_to: str | None = None
    """Log the run to trackers too: tensorboard, wandb, trackio, mlflow, or several: tensorboard,wandb. Or your own:
    MODULE:NAME or FILE.py:NAME of a `ganvas.trackers.tracker.Tracker`. Nothing goes online by itself."""
    threads: Threads | None = None
    """CPU threads; by default as many as the networks can use."""
    device: str = "auto"
    """auto (a GPU if there is one), cpu, cuda, cuda:1, xpu, xpu:1, mps."""
    precision: Literal["auto", "fp32", "tf32", "bf16", "fp16"] = "auto"
    """Of the feature maps in training: float32, bfloat16 or float16; tf32 = float32 with less exact products. Weights
    and results are float32 in any case; by default bf16 on GPUs that compute in it, else fp32."""
    compile: Literal["auto", "on", "off"] = "auto"
    """Compile training with torch.compile, which takes minutes at the start; auto: on a CUDA GPU, in runs that are long
    enough to repay it, never on a CPU."""

    def __post_init__(self) -> None:
        if isinstance(self.log_to, str):
            parse_trackers(self.log_to)

    def conflicts(self, config: "TrainConfig") -> Iterator[GanvasError]:
        if self.on_failure != "warn" and not self.watch:
            yield GanvasError(
                f"--on-failure {self.on_failure} without --watch.",
                expected="monitoring, since only a diagnosed failure can be handled",
                fix="leave --no-watch out, or --on-failure.",
            )

    def warnings(self, config: "TrainConfig") -> Iterator[str]:
        if self.on_failure in ("warn", "stop") and self.differs("max_recoveries"):
            yield f"--max-recoveries has no effect with --on-failure {self.on_failure}."
