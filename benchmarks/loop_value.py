"""What Headwater's loop is worth on the replayed year, against never retraining and against retraining every month.

Goes on with the replay that `make replay` left in the home, or plays it (about half an hour): requests to a real Triton
at their prediction times, retrainings, gates, shadow and canary as they happen. Peers are scored on the same served
rows. SHARE=0.2 sends a fifth of the requests, UNTIL=2013-08 ends earlier.
"""

import os

from assets.replay_home import replay_home
from assets.replay_rivals import LOOP, MONTHLY, NEVER
from assets.replay_year import Replay, replayed
from benchmarks.report import conclude
from ml.settings import Settings
from ml.sources.nycflights13 import YEAR

HALF = 0.5


def main() -> None:
    """Measure and print. The bar: no worse than monthly within noise, on half of its retrainings; better than never."""
    settings, spec = Settings(), replayed()
    months = [month for month in YEAR.names if month <= os.environ.get("UNTIL", month)]
    with replay_home(settings, settings.home / "replay", [spec]) as home:
        result = Replay(home, spec, months, float(os.environ.get("SHARE", "1"))).run()
    monthly, never, loop = (result.of(name) for name in (MONTHLY, NEVER, LOOP))
    share = len(loop.rival.seconds) / max(len(monthly.rival.seconds), 1)
    assert monthly.loss_gap is not None
    assert monthly.score_gap is not None
    assert never.loss_gap is not None
    as_good = monthly.loss_gap.low <= 0 and monthly.score_gap.high >= 0
    conclude(
        "loop_value",
        loop.loss / monthly.loss,
        1.0,
        holds=as_good and share <= HALF and never.loss_gap.high < 0,
        loop_loss=round(loop.loss, 4),
        monthly_loss=round(monthly.loss, 4),
        never_loss=round(never.loss, 4),
        loop_score=round(loop.score, 4),
        monthly_score=round(monthly.score, 4),
        never_score=round(never.score, 4),
        loss_gap_to_monthly=[round(value, 4) for value in (monthly.loss_gap.low, monthly.loss_gap.high)],
        retrainings=len(loop.rival.seconds),
        monthly_retrainings=len(monthly.rival.seconds),
        rows=result.rows,
    )


if __name__ == "__main__":
    main()
