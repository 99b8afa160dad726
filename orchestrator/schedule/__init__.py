"""The Ray executor: jobs on Ray Tune, in worker processes that outlive their trials.

Nothing else in the project imports ray.
"""

from __future__ import annotations

import os

from trainer import allocator

# read by Ray when it is imported
os.environ.update(
    {
        "RAY_AIR_NEW_OUTPUT": "0",
        "RAY_CHDIR_TO_TRIAL_DIR": "0",
        # Ray would print why a worker died, which is shown as the reason of the trial's failure
        "RAY_DEDUP_LOGS_SKIP_REGEX": ".",
        # else much of Ray, used by accident, would start it in its usual way
        "RAY_ENABLE_AUTO_CONNECT": "0",
        "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0",
        # the process that replaces Ray's agents notices the end of its node only by this pipe (see lean)
        "RAY_enable_pipe_based_agent_to_parent_health_check": "1",
        # waits as long as Ray would, but looks more often: Ray would sleep a second whenever its object store is not
        # ready yet
        "RAY_raylet_client_connect_timeout_milliseconds": "50",
        "RAY_raylet_client_num_connect_attempts": "200",
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_process_group_cleanup_enabled": "1",
        # else Tune imports the second version of Train, of which it uses nothing
        "RAY_TRAIN_V2_ENABLED": "0",
        "RAY_TRAIN_ENABLE_V2_MIGRATION_WARNINGS": "0",
        "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
        "TUNE_DISABLE_SIGINT_HANDLER": "1",
        # only watched trials report the metric that a rule reads
        "TUNE_DISABLE_STRICT_METRIC_CHECKING": "1",
        # a trial that is ended early may still be writing its checkpoint; Ray kills a worker after this time
        "TUNE_FUNCTION_THREAD_TIMEOUT_S": "60",
        "TUNE_GLOBAL_CHECKPOINT_S": "86400",
        "TUNE_MAX_PENDING_TRIALS_PG": "16",
        "TUNE_WARN_THRESHOLD_S": "60",
    }
)
# workers inherit this process's environment; what the user has set in it takes precedence
os.environ.update({**allocator.SETTINGS, **os.environ})

from .imports import import_tune

import_tune()

from .engine import start  # noqa: E402

__all__ = ["start"]
