"""Tables in Markdown from the results of benchmarks.run."""

from collections.abc import Iterable, Sequence

from benchmarks.networks import REFERENCE

GB = 1e9


def tables(results: dict) -> str:
    """Every table whose parts were measured."""
    made = [
        networks(results),
        modules(results, "saved", "Saved for backward by module, GB", GB),
        modules(results, "flop", "Forward GFLOP by module", 1e9),
        *floors(results.get("floor", {})),
        *growths(results.get("scaling", {})),
        *traffic(results.get("traffic", {})),
        *gpu(results.get("gpu", {})),
    ]
    return "\n\n".join(table for table in made if table)


def networks(results: dict) -> str:
    """The table of docs/performance.md: one row per network."""
    columns = {
        "parameters": lambda name: _get(results, "parameters", name, form="{:,}"),
        "forward GFLOP": lambda name: _get(results, "flop", name, "forward", unit=1e9, form="{:.1f}"),
        "step GFLOP": lambda name: _get(results, "flop", name, "step", unit=1e9, form="{:.0f}"),
        "saved for backward, GB": lambda name: _get(results, "saved", name, "total", unit=GB, form="{:.2f}"),
        "peak of tensors, GB": lambda name: _get(results, "peak", name, "tensors", unit=GB, form="{:.2f}"),
        "peak of process, GB": lambda name: _get(results, "peak", name, "resident", unit=GB, form="{:.2f}"),
        "forward time": lambda name: _times(results, "forward", name),
        "training step time": lambda name: _times(results, "step", name),
    }
    parts = [results[part] for part in ("parameters", "saved", "flop", "peak", "step", "forward") if part in results]
    names = list(dict.fromkeys(name for part in parts for name in part if name != "environment"))
    if not names:
        return ""
    return markdown(["network", *columns], [[name, *(cell(name) for cell in columns.values())] for name in names])


def _get(results: dict, *path: str, unit: float = 1, form: str) -> str:
    value = results
    for key in path:
        if key not in value:
            return ""
        value = value[key]
    return form.format(value / unit if unit != 1 else value)


def _times(results: dict, part: str, name: str) -> str:
    """Multiple of the reference network's median, with seconds."""
    times = results.get(part, {})
    if name not in times or REFERENCE not in times:
        return ""
    seconds = times[name]["median"]
    return f"{seconds / times[REFERENCE]['median']:.2f} x ({seconds:.2f} s)"


def modules(results: dict, part: str, title: str, unit: float, rows: int = 12) -> str:
    costs = results.get(part, {}).get("H2ASeg")
    if not costs:
        return ""
    named = [(name, value) for name, value in costs.items() if name not in ("total", "forward", "step")]
    return f"{title}\n\n" + markdown(["module", ""], [[name, f"{value / unit:.3f}"] for name, value in named[:rows]])


def floors(floor: dict) -> Iterable[str]:
    for run in ("forward", "step"):
        if run in floor:
            total = sum(costs["seconds"] for costs in floor[run].values())
            rows = [
                [
                    kind,
                    f"{costs['seconds'] / total:.0%}",
                    f"{costs['flop'] / 1e9:.0f}",
                    f"{costs['bytes'] / GB:.1f}",
                    f"{costs['seconds'] / costs['floor_s']:.1f} x" if costs["floor_s"] else "",
                ]
                for kind, costs in floor[run].items()
            ]
            yield f"Time of {run} by kind of operation\n\n" + markdown(
                ["kind", "share of time", "GFLOP", "GB moved", "time / floor"], rows
            )


def growths(scaling: dict) -> Iterable[str]:
    for axis in ("patch", "batch"):
        if axis in scaling:
            costs = ("forward_s", "step_s", "saved_bytes", "peak_bytes", "flop")
            rows = [
                [name, *(f"{series['growth'][cost]:.2f}" for cost in costs)] for name, series in scaling[axis].items()
            ]
            yield f"Growth exponent over voxels, larger {axis}\n\n" + markdown(
                ["network", "forward", "step", "saved", "peak", "FLOP"], rows
            )


def traffic(results: dict) -> Iterable[str]:
    """Kernels and bytes of each trainer, and as multiples of the first, nnU-Net's."""
    for plan, trainers in results.items():
        if plan == "environment":
            continue
        stock, *_ = trainers.values()
        rows = [
            [
                name,
                *(f"{costs[key]:,} ({costs[key] / stock[key]:.2f} x)" for key in ("forward kernels", "kernels")),
                *(f"{costs[key] / GB:.1f} ({costs[key] / stock[key]:.2f} x)" for key in ("forward bytes", "bytes")),
            ]
            for name, costs in trainers.items()
        ]
        yield f"A training step on a GPU in eager mode, counted, plan: {plan}\n\n" + markdown(
            ["trainer", "forward kernels", "kernels", "forward GB", "GB"], rows
        )


def gpu(results: dict) -> Iterable[str]:
    for compiled in ("compile on", "compile off"):
        if compiled in results:
            rows = [
                [
                    name,
                    _get(costs, "step_s", "median", unit=1e-3, form="{:.0f} ms"),
                    _get(costs, "first_step_s", form="{:.0f} s"),
                    _get(costs, "peak_bytes", unit=GB, form="{:.2f} GB"),
                    _get(costs, "sliding_window_s", "median", form="{:.2f} s"),
                ]
                for name, costs in results[compiled].items()
            ]
            yield f"{results['device']}, {compiled}\n\n" + markdown(
                ["trainer", "training step", "first step", "peak memory", "sliding window"], rows
            )
    if results.get("planned"):
        columns = ("estimated_bytes", "peak_allocated_bytes", "peak_reserved_bytes")
        rows = [
            [name, str(plan["patch_size"]), str(plan["batch_size"]), *(f"{plan[c] / GB:.2f}" for c in columns)]
            for name, plan in results["planned"].items()
        ]
        yield "Planned memory, GB\n\n" + markdown(
            ["target", "patch", "batch", "estimated", "peak allocated", "peak reserved"], rows
        )


def markdown(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
