"""The tabular network: raw values in, calibrated output out; all preprocessing is inside.

Here: torch modules only, on any device. Not here: fitting (ml/training.py) and export (ml/export.py).
"""

import math

import torch
from torch import Tensor, nn

from ml.encoding import DAY, Encoding, Scale
from ml.spec import NetworkSettings

_HARMONICS = 3
_WEEKDAYS = 7
_WEEKDAY_SIZE = 4
_EPOCH_WEEKDAY = 3  # 1970-01-01 was a Thursday; Monday is 0


class NumericBlock(nn.Module):
    """Numbers as a standardised, clipped value, a missing flag and a piecewise linear encoding.

    The encoding of x over quantile knots b_0 < ... < b_T is clip((x - b_{t-1}) / (b_t - b_{t-1}), 0, 1)
    for t = 1..T: Gorishniy et al., On Embeddings for Numerical Features in Tabular Deep Learning,
    NeurIPS 2022, section 3.2 (theirs leaves the outer bins open; ours clips, so outliers saturate).
    """

    column: Tensor
    low: Tensor
    per_width: Tensor
    mean: Tensor
    std: Tensor
    floor: Tensor
    ceiling: Tensor

    def __init__(self, scales: tuple[Scale, ...]) -> None:
        super().__init__()
        pieces = [
            (index, low, high - low)
            for index, scale in enumerate(scales)
            for low, high in zip(scale.knots, scale.knots[1:], strict=False)
        ]
        self.register_buffer("column", torch.tensor([piece[0] for piece in pieces], dtype=torch.int64))
        self.register_buffer("low", torch.tensor([piece[1] for piece in pieces]))
        self.register_buffer("per_width", torch.tensor([1.0 / piece[2] for piece in pieces]))
        self.register_buffer("mean", torch.tensor([scale.mean for scale in scales]))
        self.register_buffer("std", torch.tensor([scale.std for scale in scales]))
        self.register_buffer("floor", torch.tensor([scale.knots[0] if scale.knots else 0.0 for scale in scales]))
        self.register_buffer("ceiling", torch.tensor([scale.knots[-1] if scale.knots else 0.0 for scale in scales]))
        self.width_out = 2 * len(scales) + len(pieces)

    def forward(self, values: Tensor) -> Tensor:
        """Encode float32 [N, K] (NaN is missing) as float32 [N, width_out]."""
        missing = torch.isnan(values)
        filled = torch.where(missing, self.mean, values)
        clipped = torch.minimum(torch.maximum(filled, self.floor), self.ceiling)
        standard = (clipped - self.mean) / self.std
        present = (~missing).to(values.dtype)
        # A missing value lies at its lowest knot: all its pieces are 0.
        grounded = torch.where(missing, self.floor, values).index_select(1, self.column)
        pieces = grounded.sub_(self.low).mul_(self.per_width).clamp_(0.0, 1.0)
        return torch.cat([standard * present, 1.0 - present, pieces], dim=1)


class LocalTimeBlock(nn.Module):
    """Wall-clock seconds as harmonics of the time of day and an embedding of the weekday.

    The minute of the day goes through a NumericBlock besides: what an hour is like changes by steps, too.
    """

    WIDTH = 2 * _HARMONICS + _WEEKDAY_SIZE

    def __init__(self) -> None:
        super().__init__()
        self.weekday = nn.Embedding(_WEEKDAYS + 1, _WEEKDAY_SIZE)

    def forward(self, seconds: Tensor) -> Tensor:
        """Encode float64 [N] seconds on the local wall clock (NaN is missing) as float32 [N, WIDTH]."""
        missing = torch.isnan(seconds)
        filled = torch.where(missing, torch.zeros_like(seconds), seconds)
        day = torch.floor(filled / DAY)
        angle = ((filled - day * DAY) / DAY * 2 * math.pi).float()
        shifted = day + _EPOCH_WEEKDAY
        weekday = (shifted - torch.floor(shifted / _WEEKDAYS) * _WEEKDAYS).long()
        weekday = torch.where(missing, torch.full_like(weekday, _WEEKDAYS), weekday)
        waves = [wave(angle * k) for k in range(1, _HARMONICS + 1) for wave in (torch.sin, torch.cos)]
        present = (~missing).float().unsqueeze(1)
        return torch.cat([torch.stack(waves, dim=1) * present, self.weekday(weekday)], dim=1)


class TabularNetwork(nn.Module):
    """Embeddings, numeric blocks and an MLP; the output is calibrated by a scale and shift (ml/calibration.py).

    Besides the answer it gives one output for each of `auxiliary` numbers, which only training asks for.

    They are fitted on validation rows. Of the shift only a share is kept (TrainingSettings.shift_kept): one
    window's base rate is a single draw of what the next one's will be.
    """

    scale: Tensor
    shift: Tensor
    since: Tensor
    until: Tensor

    def __init__(self, encoding: Encoding, settings: NetworkSettings, auxiliary: int = 0) -> None:
        super().__init__()
        self.encoding = encoding
        sizes = [(entry.size, min(settings.embedding_size, (entry.size + 1) // 2)) for entry in encoding.categorical]
        self.embeddings = nn.ModuleList(nn.Embedding(rows, width) for rows, width in sizes)
        self.numbers = NumericBlock(
            tuple([*encoding.numeric, *(e.scale for e in encoding.elapsed), *(e.scale for e in encoding.local_times)])
        )
        self.local_times = nn.ModuleList(LocalTimeBlock() for _ in encoding.local_times)
        width = self.numbers.width_out + sum(width for _, width in sizes)
        width += LocalTimeBlock.WIDTH * len(encoding.local_times)
        self.body = _mlp(width, settings, outputs=1 + auxiliary)
        self.register_buffer("scale", torch.ones(()))
        self.register_buffer("shift", torch.zeros(()))
        for end in ("since", "until"):  # which of the times: all spans at once are a fraction of the graph's nodes
            places = [encoding.times.index(getattr(entry, end)) for entry in encoding.elapsed]
            self.register_buffer(end, torch.tensor(places, dtype=torch.int64), persistent=False)

    def forward(self, categorical: Tensor, numeric: Tensor, times: Tensor) -> Tensor:
        """Return calibrated outputs (logits, or values in the label's unit), float32 [N].

        Args:
            categorical: int64 [N, C] indices of `encoding.categorical`.
            numeric: float32 [N, K] values of `encoding.numeric`, NaN where missing.
            times: float64 [N, T] seconds of `encoding.times`, NaN where missing.
        """
        return self.raw(categorical, numeric, times) * self.scale + self.shift

    def raw(self, categorical: Tensor, numeric: Tensor, times: Tensor) -> Tensor:
        """Return the answers before calibration, float32 [N]; arguments as in `forward`."""
        return self.outputs(categorical, numeric, times)[:, 0]

    def outputs(self, categorical: Tensor, numeric: Tensor, times: Tensor) -> Tensor:
        """Return the answer before calibration, then the auxiliary outputs, float32 [N, 1 + A]."""
        blocks = [embed(categorical[:, index]) for index, embed in enumerate(self.embeddings)]
        if self.numbers.width_out:
            numbers = [numeric, *self._elapsed(times), *self._minutes_of_day(times)]
            blocks.append(self.numbers(torch.cat(numbers, dim=1)))
        for entry, block in zip(self.encoding.local_times, self.local_times, strict=True):
            blocks.append(block(times[:, self.encoding.times.index(entry.column)]))
        return self.body(torch.cat(blocks, dim=1))

    def _elapsed(self, times: Tensor) -> list[Tensor]:
        if not self.encoding.elapsed:
            return []
        minutes = ((times.index_select(1, self.until) - times.index_select(1, self.since)) / 60.0).float()
        return [torch.sign(minutes) * torch.log1p(torch.abs(minutes))]

    def _minutes_of_day(self, times: Tensor) -> list[Tensor]:
        columns = [times[:, self.encoding.times.index(entry.column)] for entry in self.encoding.local_times]
        return [((column - torch.floor(column / DAY) * DAY) / 60.0).float().unsqueeze(1) for column in columns]


def _mlp(width: int, settings: NetworkSettings, outputs: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    for hidden in settings.hidden:
        layers += [nn.Linear(width, hidden), nn.ReLU(), nn.Dropout(settings.dropout)]
        width = hidden
    return nn.Sequential(*layers, nn.Linear(width, outputs))
