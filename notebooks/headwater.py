"""The one import of notebooks: `from headwater import home`. It finds the repository from its own place.

A notebook in another folder of the repository needs this one on its path. Here: nothing but the way in, and how wide
tables are shown. What `home` has is in `assets/notebook_home.py`.
"""

import sys
import warnings
from pathlib import Path

import polars as pl

ROOT = Path(__file__).resolve().parent.parent
if str(ROOT) not in sys.path:
    sys.path.insert(0, str(ROOT))

from assets.notebook_home import open_home  # noqa: E402

pl.Config.set_tbl_rows(40)
pl.Config.set_tbl_cols(-1)
pl.Config.set_fmt_table_cell_list_len(-1)
pl.Config.set_fmt_str_lengths(160)
pl.Config.set_tbl_hide_column_data_types(True)
pl.Config.set_tbl_hide_dataframe_shape(True)

warnings.filterwarnings("ignore", message="IProgress not found")  # a progress bar that nobody sees

home = open_home(ROOT)
