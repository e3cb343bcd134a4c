"""The results of gpu.py as Markdown: a section with a table for each stage."""

from typing import Any

COMPARED_TENSORS = ("d_gradient", "g_gradient", "weights")

TIME_LIMITS = {"tests": 180, "throughput": 420, "stacked": 420, "cifar-r3gan": 180, "cifar-stylegan": 180, "ranks": 60}
"""Maximum seconds of each stage, start-up and evaluation included; in the order in which the stages run."""


def markdown(results: dict[str, Any]) -> str:
    """The report of the results so far."""
    machine = results.get("machine", {})
    summary = ", ".join(f"{name} {_format_value(value)}" for name, value in machine.items())
    parts = [f"# Ganvas on a GPU\n\n{summary}\n"]
    for name, limit in TIME_LIMITS.items():
        found = results["stages"].get(name)
        if found is None:
            continue
        state = "done" if found["done"] else "unfinished"
        parts.append(f"## {name}\n\n{state}, {found['seconds']:.0f} of {limit} s\n")
        if "error" in found:
            parts.append(f"Error: {found['error']}\n")
        if "evaluation" in found:
            parts.append(_training(name, found))
        elif "rows" in found:
            parts.append({"tests": _tests, "throughput": _throughput, "ranks": _ranks}[name](found))
    return "\n".join(parts)


def _table(head: list[str], rows: list[list[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"


def _tests(found: dict[str, Any]) -> str:
    rows = []
    for row in found["rows"]:
        ended = "yes" if row["in_time"] else "no, interrupted"
        counts = [str(row[name]) for name in ("passed", "skipped")] if "passed" in row else ["", ""]
        failed = str(len(row["failed"])) if "failed" in row else f"exit status {row['status']}"
        rows.append([row["tests"], *counts, failed, f"{row['seconds']:.0f}", ended])
    bad = [name for row in found["rows"] for name in row.get("failed", [])]
    return _table(["tests", "passed", "skipped", "failed", "seconds", "in time"], rows) + "".join(
        f"\n- failed: `{name}`" for name in bad
    )


def _throughput(found: dict[str, Any]) -> str:
    rows = []
    for row in found["rows"]:
        recipe = [f"`{row['recipe']}`", str(row["batch"])]
        if "error" in row:
            rows.append([*recipe, "", "", "", "", row["error"].replace("|", "/")])
            continue
        speeds = [f"{row[name]:,.0f}" for name in ("images_per_s", "min", "max")]
        passes = f"{row['microbatch']} at a time" if row["microbatch"] else ""
        rows.append([*recipe, *speeds, _format_bytes(row["peak_bytes"]), passes])
    head = ["recipe", "batch", "images/s, median", "min", "max", "peak memory", ""]
    return _table(head, rows) + (
        "\nRounds of training on random images, five stretches; without statistics, snapshots and the health monitor.\n"
    )


def _training(name: str, found: dict[str, Any]) -> str:
    evaluation = found["evaluation"]
    reached = f"{found['kimg']:,.1f} of {found['planned_kimg']:,.1f}" + (
        "" if found["in_time"] else " (stopped at the time limit)"
    )
    head = ["recipe", "data", "kimg", "seconds", "images/s", "peak memory"]
    seconds, speed = f"{found['training_seconds']:.0f}", f"{found['images_per_s']:,.0f}"
    peak = _format_bytes(found["peak_bytes"]) + (
        f" of {_format_bytes(found['limit_bytes'])}" if "limit_bytes" in found else ""
    )
    training = _table(head, [[f"`{found['recipe']}`", found["data"], reached, seconds, speed, peak]])
    rows = [
        [value["title"], f"{value['value']:.4g}", _format_value(value["baseline"]), _format_value(value["error"])]
        for value in evaluation["values"].values()
    ]
    numbers = _table(["measure", "value", "real-data baseline", "standard error"], rows)
    overrides = ", ".join(f"{knob} {value}" for knob, value in found.get("overrides", {}).items())
    features, subject = evaluation["protocol"]["features"], evaluation["protocol"]["subject"]
    notes = " ".join(evaluation["notes"])
    return (
        f"{training}\nOverrides: {overrides}.\n\n{numbers}\n{subject['count']:,} images in the features of "
        f"{features['extractor']}, evaluated in {found['evaluation_seconds']:.0f} s; the whole protocol is in "
        f"results.json. {notes}\n\n![]({name}.png)\n"
    )


def _ranks(found: dict[str, Any]) -> str:
    rows = [
        [
            f"`{row['recipe']}`",
            *(
                f"{row[name]['max_difference']:.2g} of {row[name]['max_value']:.2g}"
                for name in ("d_gradient", "g_gradient", "weights")
            ),
            "yes" if row["ranks_equal"] else "no",
            "yes" if row["same"] else "NO",
        ]
        for row in found["rows"]
    ]
    head = ["recipe", "D's first gradient", "G's first gradient", "all weights", "ranks equal", "same as one process"]
    return _table(head, rows) + (
        "\nThe largest difference between one process and two, and the largest value; weights after "
        f"{found['rounds']} rounds of {found['batch']}. Gradients are the same below {found['tolerance']:g} of it.\n"
    )


def _format_bytes(number: int | float | None) -> str:
    return "" if number is None else f"{number / 1e6:,.0f} MB"


def _format_value(value: Any) -> str:
    if value is None:
        return ""
    return f"{value:.4g}" if isinstance(value, float) else str(value)
