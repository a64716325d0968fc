"""Pictures of a training's curves, small enough to stand inside the UI's report.

Belongs here: drawing with matplotlib, imported by the function only. What the report says beside them is
`model_report`.
"""

import io
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

Points = Sequence[Mapping[str, float]]

_COUNTED = {"step", "steps", "seconds", "words", "at", "loss"}
_MEASURED = {"learning_rate", "gradient_norm", "step_seconds", "mfu", "data_seconds", "checkpoint_seconds"}
_PANELS: Mapping[str, Sequence[str]] = {
    "learning": ("learning_rate", "gradient_norm"),
    "speed": ("_per_second", "mfu"),
    "hardware": ("host_cpu_percent", "process_memory_bytes", "gpu_utilisation_percent", "gpu_memory_bytes"),
    "validation": ("validation_f1", "validation_class_accuracy", "validation_subtype_accuracy", "validation_line_f1"),
}
"""Picture -> names, or ends of names, that it shows; each in a panel of its own."""


def task_losses(points: Points) -> list[str]:
    """Names of the parts of the loss in a curve: what is neither counted, nor timed, nor of the machine."""
    known = {name for point in points for name in point} - _COUNTED - _MEASURED
    prefixes = ("validation", "host_", "process_", "network_", "gpu_")
    return sorted(name for name in known if not name.startswith(prefixes) and not name.endswith("_per_second"))


def draw_curves(points: Points) -> dict[str, bytes]:
    """PNG by name: losses by task, learning rate and gradient norm, speed, hardware, validation; what was measured."""
    pictures = {"losses": _losses(points)} if len(points) > 1 else {}
    measured = Counter(name for point in points for name in point)
    for picture, wanted in _PANELS.items():
        names = [name for end in wanted for name in sorted(measured) if name.endswith(end)]
        shown = [name for name in names if measured[name] > 1]
        if shown:
            pictures[picture] = _panels(points, shown)
    return pictures


def _losses(points: Points) -> bytes:
    figure, (axes,) = _figure(1)
    for name in ["loss", *task_losses(points)]:
        found = [(point["step"], point[name]) for point in points if point.get(name, 0.0) > 0]
        if found:
            axes.plot(*zip(*found, strict=True), label=name, linewidth=1.6 if name == "loss" else 0.8)
    axes.set(xlabel="step", ylabel="loss", yscale="log")
    axes.legend(fontsize=7)
    return _png(figure)


def _panels(points: Points, names: Sequence[str]) -> bytes:
    figure, panels = _figure(len(names))
    for axes, name in zip(panels, names, strict=True):
        found = [(point["step"], point[name]) for point in points if name in point]
        axes.plot(*zip(*found, strict=True), linewidth=1.0)
        axes.set(xlabel="step", title=name)
        axes.title.set_size(8)
    return _png(figure)


def _figure(panels: int) -> tuple[Any, list[Any]]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5.2 if panels == 1 else 2.9 * panels, 2.6), layout="constrained")
    return figure, list(figure.subplots(1, panels, squeeze=False)[0])


def _png(figure: Any) -> bytes:
    """In 16 colours: a curve needs no more, and the asset page loads the pictures of many versions at once."""
    from PIL import Image

    stream = io.BytesIO()
    figure.savefig(stream, dpi=80, metadata={"Software": None})
    small = io.BytesIO()
    Image.open(stream).convert("RGB").quantize(16).save(small, format="PNG", optimize=True)
    return small.getvalue()
