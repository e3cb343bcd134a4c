"""The knobs that every family shares: pictures, the rules of the game, the balance, the optimisers, the habits."""

from dataclasses import dataclass
from typing import Literal

from ganvas.data.options import PictureOptions
from ganvas.schedule import Knob


@dataclass(frozen=True, kw_only=True)
class Pictures:
    """What is shown to the discriminator."""

    data: str = "digits"
    """Pictures to learn: digits, a folder, a zip, an IDX folder, CIFAR-10, .npz, mnist, hf:owner/name …"""
    resolution: str | None = None
    """Height, or HEIGHTxWIDTH; by default the pictures' own where they agree."""
    channels: Literal[1, 3, 4] | None = None
    """1 grey, 3 RGB, 4 RGBA; by default what the pictures have."""
    fit: Literal["crop", "pad", "stretch"] = "crop"
    """How a picture of another shape is brought to the resolution."""
    max_bad: float = 0.05
    """The fraction of unreadable pictures above which training is refused."""
    conditional: bool = False
    """Learn the classes: G draws the class it is asked for, D is told the class it judges."""
    mirror: bool = False
    """Show each picture mirrored half of the time."""
    balanced: bool = False
    """Show every class equally often, whatever its share of the data."""

    def options(self) -> PictureOptions:
        """What the data room needs of it.

        Raises:
            GanvasError: a resolution that cannot be read, or another value out of bounds.
        """
        return PictureOptions(self.data, "train", self.resolution, self.channels, self.fit, self.max_bad)


Objective = Literal["minimax", "non-saturating", "least-squares", "hinge", "wasserstein", "rpgan", "rahinge"]


@dataclass(frozen=True, kw_only=True)
class Play:
    """The rules of the game. A value written with a schedule may move with time (see `ganvas.schedule`)."""

    objective: Objective = "rpgan"
    """What the players minimise; see `ganvas.game.objectives`."""
    r1: Knob = 0.0
    """γ of the gradient penalty on real pictures (γ/2 · E|∇D|²); 0 = none."""
    r2: Knob = 0.0
    """γ of the gradient penalty on generated pictures."""
    gp: Knob = 0.0
    """λ of WGAN-GP's penalty between real and generated pictures (λ · E(|∇D| - 1)²); 10 in the paper."""
    dragan: Knob = 0.0
    """λ of DRAGAN's penalty around real pictures (λ · E(|∇D| - 1)²); 10 in the paper."""
    penalty_every: int = 1
    """Moves of D between two with penalties; each is then scaled up by that number."""
    clip: float = 0.0
    """After each of its moves D's weights are clipped to ± this (Wasserstein; 0.01 in the paper); 0 = never."""
    spectral: bool = False
    """Divide each weight matrix of D by its largest singular value."""
    smoothing: float = 0.0
    """Reals count as 1 minus this: one-sided label smoothing, 0.1 in the paper."""
    noise: Knob = 0.0
    """Standard deviation of the Gaussian noise on everything D sees; 2 is the whole range of a pixel."""
    augment: Literal["none", "diffaugment", "ada"] = "none"
    """How everything D sees is augmented: colour, translation and cutout; or ADA's pipe. See `ganvas.game.augment`."""
    augment_p: Knob = 1.0
    """How often each transformation is applied."""
    ada_target: float = 0.0
    """Let `augment_p` start at 0 and follow D's overfitting, held here (E[sign D(x)]; 0.6 in the paper); 0 = do not."""
    ada_kimg: float = 500.0
    """Thousands of pictures in which that p can rise from 0 to 1."""
    shared_fakes: bool = True
    """The fakes of D's last move serve G's move too, as in the course loops; otherwise G draws anew."""

    @property
    def critic(self) -> bool:
        """Whether D estimates a distance instead of telling kinds apart: its loss has no zero."""
        return self.objective == "wasserstein"


@dataclass(frozen=True, kw_only=True)
class Balance:
    """The game's clock: who moves, and when."""

    d_steps: int = 1
    """Moves of D in a round, each on fresh pictures."""
    g_steps: int = 1
    """Moves of G in a round."""
    skip_d_below: float | None = None
    """D rests while its loss is below this."""
    skip_g_below: float | None = None
    """G rests while its loss is below this."""
    loss_change: float = 0.0
    """Let the player whose loss changes faster move, and the other rest: D if its relative change is above this many
    times G's (Ouyang & Agam 2021); 0 = both move."""


@dataclass(frozen=True, kw_only=True)
class Optimisation:
    """The optimisers of both players, and the average of the generator that is kept."""

    batch: int = 64
    """Real pictures a move of D, over all processes."""
    microbatch: int | None = None
    """Pictures that pass through a network at a time, on each process; the gradients are summed. Saves memory."""
    optimiser: Literal["adam", "rmsprop"] = "adam"
    """How gradients become steps."""
    g_lr: Knob = 2e-4
    """Learning rate of the generator."""
    d_lr: Knob = 2e-4
    """Learning rate of the discriminator."""
    beta1: float = 0.0
    """Adam's first-moment decay."""
    beta2: Knob = 0.99
    """Adam's second-moment decay; RMSprop's only one."""
    ema: Knob = 10.0
    """Half-life of the generator's moving average, in kimg; 0 keeps no average."""
    ema_warmup: float = 0.05
    """The half-life never exceeds this fraction of the images seen so far; 0 = it may from the start."""


@dataclass(frozen=True, kw_only=True)
class Habits:
    """How often things are written, and where it runs. May change when a run goes on.

    It is then the same run, but for `threads` and `device`, which may change the last bit of a sum, and `on_failure`.
    """

    tick_kimg: float = 4.0
    """kimg between two lines of stats.jsonl."""
    snapshot_kimg: float | None = None
    """kimg between two snapshots (weights, grid, state); by default a tenth of the run."""
    keep_kimg: float | None = None
    """Snapshots at multiples of this many kimg are kept for good; by default only the last (and the best)."""
    evaluate_every: float | None = None
    """kimg between two looks at the quality (a kernel distance of 250 to 2,000 pictures, as many as 5 % of the time
    allow), of which the best is kept in snapshots/best; by default with every snapshot; 0 = never."""
    evaluate_at_end: bool = False
    """Measure the last snapshot in full at the end, as ganvas evaluate does."""
    watch: bool = True
    """With every line of stats.jsonl look for what goes wrong, and say so; see ganvas diagnose."""
    on_failure: Literal["warn", "stop", "rollback", "correct"] = "warn"
    """When the doctor names a failure (see ganvas diagnose): say so; stop; go back to the best state, with other
    learning rates, penalties or augmentation; or only change those."""
    rescues: int = 3
    """Times that a run goes back or is corrected, at most; then it is stopped."""
    plot: bool = True
    """Redraw losses.png with each snapshot, in a process of its own."""
    threads: int | None = None
    """CPU threads; by default as many as the networks can keep busy."""
    device: str = "auto"
    """auto, cpu, cuda, cuda:1, mps."""
