"""What a training says where a GPU has no memory left, or lacks an operation: what is saved, and how to go on."""

from collections.abc import Iterator
from contextlib import contextmanager

from ganvas import devices
from ganvas.config import TrainConfig, replace
from ganvas.errors import GanvasError
from ganvas.runs import state_metadata
from ganvas.runs.folder import Run
from ganvas.training import distributed
from ganvas.training.estimate import CostEstimate


@contextmanager
def explained(config: TrainConfig, cost: CostEstimate, run: Run | None = None) -> Iterator[None]:
    """Turns errors of the device within the block into a GanvasError; `run` is the one that is trained there."""
    try:
        yield
    except RuntimeError as error:
        if devices.is_out_of_memory(error):
            reason = ". ".join(str(error).split(". ")[:2])  # the rest is advice for programmers
            raise _explain_memory(config, cost, run, reason) from error
        if explanation := devices.explain_missing_operation(error):
            raise explanation from error
        raise


def _explain_memory(config: TrainConfig, cost: CostEstimate, run: Run | None, reason: str) -> GanvasError:
    n = cost.images_per_pass
    run = run if run is not None and run.path.exists() else None  # its folder may be on another machine only
    saved = None if run is None else state_metadata.saved_kimg(run.path)
    what = f"The GPU has no memory left with {n} images at a time ({reason})"
    if run is not None:
        state = f"the state of {saved:g} kimg stays intact" if saved else "there was nothing to save yet"
        what = f"{what}; {run} stopped, and {state}"
    smaller = _smaller_microbatch(config, cost)
    if smaller is None:
        fix = (
            f"--batch {cost.in_groups(n // 2) * distributed.world_size()}"
            if n > 2
            else "narrower networks, or a smaller --resolution"
        )
    else:
        kept = "the batch and its gradients" if cost.accumulates else "the batch"
        fix = f"--microbatch {smaller}, which keeps {kept}, and takes longer"
    if saved:
        fix = (
            f"free memory on the GPU, and the same command resumes it. Or go on in a new run: the same command with "
            f"--from {run} and {fix}; a run keeps the batch and the microbatch that it was started with."
        )
    else:
        fix = f"start a new run with {fix}."
    return GanvasError(
        f"{what}.", expected=f"about {cost.peak_bytes / 1e9:.1f} GB; {cost.free_bytes / 1e9:.1f} GB were free", fix=fix
    )


def _smaller_microbatch(config: TrainConfig, cost: CostEstimate) -> int | None:
    """At most half of the images at a time, and no more than fit by the estimate; None where that is not allowed."""
    n = cost.in_groups(min(cost.images_per_pass // 2, max(cost.fitting_images, 1)))
    try:
        return replace(config, microbatch=n).optimisation.microbatch if n else None
    except GanvasError:  # an objective of the whole batch, or batch norm
        return None
