"""Small pictures as PNG, drawn without a window. What is on them is drawn by who asks."""

from collections.abc import Callable
from io import BytesIO

SIZE, DOTS = (5.2, 2.8), 90  # inches, dots an inch


def picture(draw: Callable[..., None], size: tuple[float, float] = SIZE, panels: int = 1) -> bytes:
    """Return a PNG of what `draw` draws on the axes that it is given, one a panel from left to right.

    The same drawing gives the same bytes.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=size, dpi=DOTS, layout="constrained")
    FigureCanvasAgg(figure)
    parts = figure.subplots(1, panels, squeeze=False)[0]
    for axes in parts:
        axes.tick_params(labelsize=8)
    draw(*parts)
    for axes in parts:
        for label in (axes.xaxis.label, axes.yaxis.label, axes.title):
            label.set_fontsize(8)
    png = BytesIO()
    figure.savefig(png, format="png", metadata={"Software": None})
    return png.getvalue()
