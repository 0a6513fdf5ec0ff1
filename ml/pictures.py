"""Small pictures as PNG, drawn without a window. What is on them is drawn by who asks."""

from collections.abc import Callable
from io import BytesIO
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.axes import Axes

SIZE, DOTS = (5.2, 2.8), 90  # inches, dots an inch


def picture(draw: Callable[["Axes"], None], size: tuple[float, float] = SIZE) -> bytes:
    """Return a PNG of what `draw` draws; the same drawing gives the same bytes."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=size, dpi=DOTS, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    axes.tick_params(labelsize=8)
    draw(axes)
    for label in (axes.xaxis.label, axes.yaxis.label, axes.title):
        label.set_fontsize(8)
    png = BytesIO()
    figure.savefig(png, format="png", metadata={"Software": None})
    return png.getvalue()
