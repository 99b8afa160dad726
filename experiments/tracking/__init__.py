"""The record in MLflow. Nothing else in the project imports mlflow; sharing/board.py speaks to the client opened here.

In MLflow's words: an *experiment* is a study (with its profile), a *parent run* an `ablate run`, a *child run* an
attempt at a trial. What is read back (see attempts) is its `trial.json` and a few tags; names, params and metrics are
for people in the UI.
"""

from .apart import store_apart
from .opening import close_left_open, open_client
from .reading import download_content, download_file, search_attempts, search_finished
from .writer import RunWriter

__all__ = [
    "RunWriter",
    "close_left_open",
    "download_content",
    "download_file",
    "open_client",
    "search_attempts",
    "search_finished",
    "store_apart",
]
