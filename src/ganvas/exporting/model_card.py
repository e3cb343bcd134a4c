"""The model card of a folder for the hub: README.md, made of the card, the run and its evaluations alone."""

import html
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ganvas.config import TrainConfig, differences, leaves, to_json
from ganvas.errors import GanvasError
from ganvas.evaluation.measures import format_number
from ganvas.evaluation.result import Evaluation, format_protocol
from ganvas.recipes import RECIPES
from ganvas.runs.folder import Run
from ganvas.runs.log import read_jsonl
from ganvas.runs.lookup import origin_name
from ganvas.runs.pretrained import card_text
from ganvas.runs.training_data import find_run
from ganvas.sampling import Sampler

_ARROWS = {"lower": "lower is better", "higher": "higher is better", "as real": "as in real images"}
_OF_THIS_MACHINE = ("data", "init_from")
"""Knobs that may be paths: their names stand elsewhere in the card."""
_CHANNELS = {1: "grey", 3: "RGB", 4: "RGBA"}
MOST_ROWS = 32
"""Most classes of which each has a row in samples.png."""

_MAX_NAMES = 100


def read_evaluations(sampler: Sampler) -> tuple[list[dict[str, Any]], bool]:
    """The fullest evaluation of this snapshot by each network; whether closest.png in the run is of this snapshot.

    Both are of metrics.jsonl in its run. Of equally full ones (`_fullness`) the newest counts: a quick look displaces
    no numbers, nor the finding that images are copied. Rows that cannot be read are left out.
    """
    run, rows = find_run(sampler.path), dict[str, dict[str, Any]]()
    if run is None:
        return [], False
    place, nearest = f" at {sampler.card.nimg / 1000:g} kimg", False
    for row in read_jsonl(run.path / "metrics.jsonl"):
        try:
            own = row["subject"].endswith(place)
            _render_evaluation(row)
            nearest = own if row["memorisation"] else nearest
            features = row["protocol"]["features"]
            name = features.get("network", features["extractor"])
            if own and (name not in rows or _fullness(row) >= _fullness(rows[name])):
                rows[name] = row
        except (KeyError, TypeError, AttributeError, ValueError):
            continue
    return list(rows.values()), nearest


def _fullness(row: Mapping[str, Any]) -> tuple[bool, bool, int]:
    """Whether copies of training images were looked for, whether nothing was truncated, and the number of images."""
    subject = row["protocol"]["subject"]
    return bool(row["memorisation"]), subject.get("truncation", 1) == 1, subject["count"]


def write_model_card(
    sampler: Sampler, evaluations: Sequence[dict[str, Any]], licence: str, *, name: str, nearest: bool
) -> str:
    """The text of README.md.

    Args:
        sampler: the generator.
        evaluations: rows of metrics.jsonl.
        licence: the hub's name of the licence.
        name: how `ganvas.load` finds the folder.
        nearest: whether nearest.png is beside it.
    """
    run = find_run(sampler.path)
    parts = [_head(sampler, licence), _what(sampler), _use(sampler, name), _training(sampler, run)]
    released = card_text(sampler.path)
    parts += [_evaluation(evaluations, released, in_run=run is not None)]
    if nearest:
        parts.append(
            "## Nearest training images\n\n"
            "Upper row: generated images that are closest to training images; lower row: the training images.\n\n"
            "![Generated images above their nearest training images](nearest.png)"
        )
    parts += [
        _intended(evaluations, bool(released), in_run=run is not None),
        _licence(licence, sampler.card.attribution, nearest),
    ]
    return "\n\n".join(parts) + "\n"


def _head(sampler: Sampler, licence: str) -> str:
    card = sampler.card
    tags = ["gan", "ganvas", card.network.family, card.recipe]
    lines = ["library_name: ganvas", f"license: {licence}", "pipeline_tag: unconditional-image-generation", "tags:"]
    return "\n".join(["---", *lines, *(f"- {json.dumps(tag)}" for tag in dict.fromkeys(tags)), "---"])


def _what(sampler: Sampler) -> str:
    card = sampler.card
    shape, names = card.shape, card.class_names
    kind = f"{shape.height}×{shape.width} {_CHANNELS[shape.channels]} images"
    classes = ""
    if names:
        shown = ", ".join(map(_text, names[:_MAX_NAMES])) + (" …" if len(names) > _MAX_NAMES else "")
        classes = f" The class can be chosen, one of {len(names)}: {shown}."
    order = "One row a class, from the first seeds."
    if not names or len(names) > MOST_ROWS:
        order = f"The seeds from 0 to 63, row by row{', each of the next class' * bool(names)}; none were chosen."
    return (
        f"# {_text(card.recipe)} on {_text(str(card.data['name']))}\n\n"
        f"A generative adversarial network that draws {kind} like those of the data set "
        f"{_text(str(card.data['name']))}.{classes}\n\n![Generated images](samples.png)\n\n{order}"
    )


def _use(sampler: Sampler, name: str) -> str:
    label = f", label={sampler.card.class_names[0]!r}" if sampler.card.class_names else ""
    where = "" if name.startswith("hf:") else "  # this folder; on the hub hf:OWNER/NAME@REVISION"
    code = (
        f"import ganvas\n\nimages = ganvas.load({name!r}).sample(range(64){label}){where}\n"
        f"images.grid().save('grid.png')"
    )
    needs = (
        "It needs the Python package `ganvas`, which trains generative adversarial networks and uses them: "
        f"version {sampler.card.versions['ganvas']} or later."
    )
    return f"## Use\n\n{needs}\n\n```python\n{code}\n```\n\n```\nganvas sample {name} --seeds 0-63\n```"


def _training(sampler: Sampler, run: Run | None) -> str:
    card = sampler.card
    metadata, config = _metadata_of(run)
    images = metadata.get("data", {}).get("images")
    rows = [
        ("recipe", f"{card.recipe} ({RECIPES[card.recipe].source})" if card.recipe in RECIPES else card.recipe),
        (
            "network",
            f"family {card.network.family}, {sum(w.numel() for w in sampler.generator.parameters()):,} weights",
        ),
        (
            "weights",
            "moving average of the generator (EMA)" if card.weights == "ema" else "the generator as it was trained",
        ),
        ("length", f"{card.nimg / 1000:g} thousand images shown to the discriminator"),
        ("data", f"{card.data['name']}" + (f", {images:,} images" if images else "")),
        ("fingerprint of the data", f"{card.data['fingerprint']} (SHA-256 of pixels, labels and class names)"),
        ("versions", ", ".join(f"{name} {version}" for name, version in card.versions.items())),
    ]
    if card.lineage:
        rows.append(("started from", f"{origin_name(card.lineage)} at {card.lineage.get('kimg', 0):g} kimg"))
    if card.quality:
        quality = (
            f"{format_number(card.quality['value'])} ({card.quality['count']:,} images, {card.quality['extractor']})"
        )
        rows.append(("quality during training", f"kernel distance {quality}"))
    text = "## Training\n\n" + _table(("", ""), rows)
    if config is not None:
        text += f"\n\n{_changed_knobs(card.recipe, config)}\n\n{_all_knobs(config)}"
    return text


def _metadata_of(run: Run | None) -> tuple[Mapping[str, Any], TrainConfig | None]:
    if run is None:
        return {}, None
    try:
        return run.metadata, run.config
    except GanvasError:
        return {}, None


def _changed_knobs(recipe: str, config: TrainConfig) -> str:
    if recipe not in RECIPES:
        return "The configuration is one of its own."
    runtime = {name for name, _ in leaves(config.runtime)}
    changed = [
        f"`--{name.replace('_', '-')} {_value(new)}`"
        for name, _, new in differences(RECIPES[recipe].config, config)
        if name not in (*_OF_THIS_MACHINE, *runtime)
    ]
    return (
        f"Knobs that differ from the recipe: {', '.join(changed)}." if changed else "All knobs are those of the recipe."
    )


def _value(value: Any) -> str:
    value = _without_folder(value)
    text = " ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
    return text.replace("`", "'").replace("\n", " ")


def _without_folder(value: Any) -> Any:
    """FILE.py:NAME without the folder in which the file is on this machine."""
    return re.sub(r"^.*[\\/](?=[^\\/:]+\.py:)", "", value) if isinstance(value, str) else value


def _all_knobs(config: TrainConfig) -> str:
    plain = {
        group: {name: _without_folder(value) for name, value in values.items() if name not in _OF_THIS_MACHINE}
        if isinstance(values, dict)
        else values
        for group, values in to_json(config).items()
        if group != "runtime"
    }
    content = html.escape(json.dumps(plain, indent=2, ensure_ascii=False), quote=False)
    return f"<details><summary>All knobs</summary>\n\n<pre>{content}</pre>\n\n</details>"


def _evaluation(evaluations: Sequence[dict[str, Any]], released: str, *, in_run: bool) -> str:
    if not evaluations and released:
        return f"## Evaluation\n\nThe card with which this generator comes in Ganvas:\n\n{released}"
    if not evaluations:
        found = "This generator was not evaluated" if in_run else "No evaluation is at hand"
        return f"## Evaluation\n\n{found}: nothing is known here of its quality but the images above."
    return "## Evaluation\n\n" + "\n\n".join(_render_evaluation(row) for row in evaluations)


def _render_evaluation(row: Mapping[str, Any]) -> str:
    """One row of metrics.jsonl: a table, the memorisation test and the protocol."""
    rows = []
    for value in row["values"].values():
        numbers = ["" if value[key] is None else format_number(value[key]) for key in ("value", "error", "baseline")]
        mark = "" if value["independent"] else " †"
        rows.append((f"{value['title']}{mark}", *numbers, _ARROWS[value["better"]]))
    text = _table(("", "value", "±", "real", ""), rows)
    text += "\n\n±: standard error; real: the baseline, held-out real images in place of the generated ones."
    if not all(value["independent"] for value in row["values"].values()):
        text += " †: measured with a network through which the discriminator looked, not an independent judge."
    if memorisation := row["memorisation"]:
        text += f"\n\n{_memorisation(memorisation)}"
    protocol = format_protocol(Evaluation("", {}, None, row["protocol"], ()))
    notes = "".join(f"\n\nNote: {_text(note)}" for note in row["notes"])
    return f"{text}{notes}\n\n" + "\n".join(f"- {_text(line)}" for line in protocol.splitlines())


def _memorisation(found: Mapping[str, Any]) -> str:
    distance = (
        f"Generated images are {found['ratio']:.2f} times as far from the nearest training image as "
        f"{'left-out training' if found['left_out'] else 'held-out'} images are."
    )
    if found["near_copies"] is None:
        return f"Copies of training images were looked for in the features. {distance}"
    verdict = "**Training images are copied**" if found["copying"] else "No copying of training images was found"
    share, real = 100 * found["near_copies"], 100 * found["near_copies_expected"]
    return f"{verdict}: {share:.1f} % are near-copies ({real:.1f} % of real images would be). {distance}"


def _intended(evaluations: Sequence[dict[str, Any]], released: bool, *, in_run: bool) -> str:
    copying = any((row["memorisation"] or {}).get("copying") for row in evaluations)
    known = any((row["memorisation"] or {}).get("near_copies") is not None for row in evaluations)
    lines = [
        "For teaching, for experiments with generative adversarial networks, for pictures like those of its data set, "
        "and as the start of other trainings (`ganvas train --from`).",
        "Its images are made up. They are no evidence of anything, and where they show people, nobody in them exists.",
        "It draws what its data set has, in the shares in which it is there, with its gaps and its prejudices; "
        "images are not filtered.",
    ]
    if copying:
        lines.append("It copies training images: do not use it where those are private.")
    elif not known and not released:
        unknown = "was not measured" if in_run else "is not known here"
        lines.append(f"Whether it copies training images {unknown}.")
    return "## Intended use and limits\n\n" + "\n".join(f"- {line}" for line in lines)


def _licence(licence: str, attribution: str, nearest: bool) -> str:
    theirs = " The training images in nearest.png remain under the licence of their data set." if nearest else ""
    data = f" Data: {_text(attribution)}" if attribution else ""
    return f"## Licence\n\nThe weights are given under {licence}.{data}{theirs}"


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    return "\n".join(_lines(header, rows))


def _lines(header: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    yield f"| {' | '.join(header)} |"
    yield f"|{'---|' * len(header)}"
    for row in rows:
        yield f"| {' | '.join(map(_text, row))} |"


def _text(text: str) -> str:
    """A text that Markdown and HTML show as it is, in one line."""
    escaped = html.escape(" ".join(str(text).split()), quote=False)
    return re.sub(r"([\\`*_\[\]|#])", r"\\\1", escaped)
