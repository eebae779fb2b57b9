"""MLflow: a run of an experiment, at the server that MLFLOW_TRACKING_URI names.

MLflow's own variables say where and to which experiment: MLFLOW_TRACKING_URI, MLFLOW_EXPERIMENT_NAME and those of its
credentials.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from typing import Any

from ubm_embed.errors import NotFound
from ubm_embed.inference.runtimes.optional_library import load_library
from ubm_embed.training.tracking.tracker import RunStatus, TrackerName

# A request takes at most 1,000 metrics and 100 parameters.
_METRICS, _PARAMETERS = 1000, 100
_MAX_VALUE = 6000
# A request for every step would come to thousands.
_SECONDS = 5.0


class MLflow:
    """Logs settings as parameters, and figures in batches.

    Args:
        run_name: of a new run.

    Raises:
        NotFound: MLflow is not installed, or has no such store.
    """

    name = TrackerName.MLFLOW

    def __init__(self, run_name: str) -> None:
        # It sends usage statistics to its makers otherwise; what a shop trains is nobody's business.
        os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
        self._mlflow = load_library("mlflow", extra="mlflow")
        self.run_name = run_name
        self._run_id = ""
        self._waiting: list[Any] = []
        self._sent = time.monotonic()
        try:
            self._client = self._mlflow.MlflowClient()
        except self._mlflow.MlflowException as error:
            reason = " ".join(str(error).split())
            raise NotFound(f"set MLFLOW_TRACKING_URI to the address of your MLflow server: {reason}") from None

    def start(self, settings: Mapping[str, Any], step: int, run_id: str | None) -> str:
        """Start a run, or continue one; its values from `step` on come twice, and are equal."""
        run = self._mlflow.start_run(run_id=run_id, run_name=None if run_id else self.run_name)
        self._run_id = str(run.info.run_id)
        entities = self._mlflow.entities
        parameters = [entities.Param(name, str(value)[:_MAX_VALUE]) for name, value in settings.items()]
        for first in range(0, len(parameters), _PARAMETERS):
            self._client.log_batch(self._run_id, params=parameters[first : first + _PARAMETERS])
        return self._run_id

    def log(self, step: int, metrics: Mapping[str, float]) -> None:
        """Send what waits, every few seconds."""
        now = int(time.time() * 1000)
        metric = self._mlflow.entities.Metric
        self._waiting += [metric(name, value, now, step) for name, value in metrics.items()]
        if len(self._waiting) >= _METRICS or time.monotonic() - self._sent > _SECONDS:
            self._send()

    def finish(self, status: RunStatus) -> None:
        """Send what is left, and close the run."""
        self._send()
        self._mlflow.end_run(str(status))

    def _send(self) -> None:
        for first in range(0, len(self._waiting), _METRICS):
            self._client.log_batch(self._run_id, metrics=self._waiting[first : first + _METRICS])
        self._waiting, self._sent = [], time.monotonic()
