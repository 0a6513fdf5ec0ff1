"""When the rows of a model's training set were asked about: the windows to learn from, to validate and to test on.

Here: the windows, as data of a spec. Not here: cutting rows by them (ml/split.py).
"""

from datetime import UTC, datetime, timedelta
from typing import Self

from pydantic import AwareDatetime, model_validator

from ml.frozen import Frozen


class Window(Frozen):
    """A half-open interval [start, end) of prediction times."""

    start: AwareDatetime
    end: AwareDatetime

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.start >= self.end:
            raise ValueError(f"window is empty: start {self.start} is not before end {self.end}")
        return self


class Split(Frozen):
    """Train, validation and test windows, in time order and apart."""

    train: Window
    validation: Window
    test: Window

    @model_validator(mode="after")
    def _in_time_order(self) -> Self:
        if self.train.end > self.validation.start or self.validation.end > self.test.start:
            raise ValueError("split windows overlap; order them train, validation, test")
        return self

    @classmethod
    def between(cls, start: str, end: str) -> Self:
        """Return the days from `start` to before `end` ("2013-01-01", UTC) in time order: two thirds, a sixth, a sixth.

        Raises ValueError if one is no day, or there are fewer than six.
        """
        first, last = (datetime.fromisoformat(day).replace(tzinfo=UTC) for day in (start, end))
        part = timedelta(days=(last - first).days // 6)
        if not part:
            raise ValueError(f"{start} to {end} is no span of at least six days, to learn, validate and test on")
        windows = zip((first, last - 2 * part, last - part), (last - 2 * part, last - part, last), strict=True)
        train, validation, test = (Window(start=start, end=end) for start, end in windows)
        return cls(train=train, validation=validation, test=test)
