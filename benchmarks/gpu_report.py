"""The results of gpu.py as Markdown: a section with a table for each stage."""

from typing import Any

Ceilings = dict[str, float]
"""What `ceilings` has measured: TFLOP/s by precision, and GB/s of a copy."""

COMPARED_TENSORS = ("d_gradient", "g_gradient", "weights")

TIME_LIMITS = {
    "tests": 180, "ceilings": 30, "throughput": 480, "compiled": 540, "profile": 120,
    "stacked": 420, "stacked-fast": 420, "cifar-r3gan": 180, "cifar-stylegan": 180,
    "cifar-fast": 560, "faces-64": 560, "faces-128": 560, "ranks": 60,
}  # fmt: skip
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
            ceilings = {row["ceiling"]: row["value"] for row in results["stages"].get("ceilings", {}).get("rows", [])}
            parts.append(TABLES[name](found, ceilings))
    return "\n".join(parts)


def _table(head: list[str], rows: list[list[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"


def _ceilings(found: dict[str, Any], _: Ceilings) -> str:
    rows = [[row["ceiling"], f"{row['value']:,.1f} {row['unit']}"] for row in found["rows"]]
    return _table(["ceiling", "measured"], rows) + "\nA product of square matrices, and a copy: reads and writes.\n"


def _profile(found: dict[str, Any], _: Ceilings) -> str:
    parts = []
    for row in found["rows"]:
        if isinstance(row["operations"], dict):
            parts.append(f"`{row['recipe']}`: {row['operations']['error']}\n")
            continue
        lines = [[f"`{one['operation'][:80]}`", f"{one['share']:.1%}", str(one["calls"])] for one in row["operations"]]
        head = [f"`{row['recipe']}`, batch {row['batch']}", "share of the time", "calls in three rounds"]
        parts.append(_table(head, lines))
    return "\n".join(parts)


def _tests(found: dict[str, Any], _: Ceilings) -> str:
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


def _throughput(found: dict[str, Any], ceilings: Ceilings) -> str:
    rows = []
    for row in found["rows"]:
        recipe = [f"`{row['recipe']}`", str(row["batch"]), row["mode"]]
        if "error" in row:
            rows.append([*recipe, *[""] * 7, row["error"].replace("|", "/")])
            continue
        speeds = [f"{row[name]:,.0f}" for name in ("images_per_s", "min", "max")]
        passes = f"{row['microbatch']} at a time" if row["microbatch"] else ""
        flops, moved = (row["images_per_s"] * row[name] for name in ("flops_per_image", "bytes_per_image"))
        product = ceilings.get(row["mode"].partition(",")[0])
        shares = [_share(flops / 1e12, product), _share(moved / 1e9, ceilings.get("copy"))]
        cells = [*speeds, _format_bytes(row["peak_bytes"]), *shares, f"{row['warm_up_seconds']:.0f}"]
        rows.append([*recipe, *cells, "; ".join(filter(None, [passes, *row["notes"]]))])
    head = ["recipe", "batch", "mode", "images/s, median", "min", "max", "peak memory", "of the product's ceiling",
            "of the copy's, at least", "warm-up, s", ""]  # fmt: skip
    return _table(head, rows) + (
        "\nRounds of training on random images, five stretches; without statistics, snapshots and the health monitor. "
        "Of the ceiling of a matrix product: operations of a round over those of the product in the same time. Of that "
        "of a copy: as if only the larger update's graph were written and read, once each.\n"
    )


def _share(value: float, ceiling: float | None) -> str:
    return "" if not ceiling else f"{value / ceiling:.1%}"


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


def _ranks(found: dict[str, Any], _: Ceilings) -> str:
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


TABLES = {
    "tests": _tests, "ceilings": _ceilings, "throughput": _throughput, "compiled": _throughput, "profile": _profile,
    "ranks": _ranks,
}  # fmt: skip


def _format_bytes(number: int | float | None) -> str:
    return "" if number is None else f"{number / 1e6:,.0f} MB"


def _format_value(value: Any) -> str:
    if value is None:
        return ""
    return f"{value:.4g}" if isinstance(value, float) else str(value)
