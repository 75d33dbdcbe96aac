"""The work on the queue `analyse`: the model, loaded once and kept warm, and failures told of between the jobs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import structlog

from ichor.errors import QueueUnreachable
from ichor.jobs import QUEUE_DELIVER, wake
from ichor.store import Store
from worker.analysis import Recipe
from worker.analysis_job import AnalysisJob
from worker.eligibility import check_labels
from worker.failures import tell_of_failures
from worker.gate import load_rules
from worker.result import ALERT_MIN_VOLUME_ML
from worker.staging import sweep_staged

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Mapping

    from celery import Celery

    from ichor.catalogue.engine import Catalogue
    from ichor.catalogue.records import JobKind
    from ichor.metrics import NodeMetrics
    from ichor.settings import Settings
    from models.segmenter import Segmenter
    from worker.loop import Handler

log = structlog.get_logger(__name__)


class Analysing:
    """One model for every job of the process."""

    def __init__(
        self,
        settings: Settings,
        catalogue: Catalogue,
        metrics: NodeMetrics,
        *,
        client: Celery,
        load_model: Callable[[], Segmenter],
        stop: threading.Event,
    ) -> None:
        self._settings = settings
        self._catalogue = catalogue
        self._client = client
        self._load_model = load_model
        self._segmenter: Segmenter | None = None
        thresholds = [channel.min_volume_ml for channel in settings.finding_channels]
        recipe = Recipe(
            segmenter_for=self._model,
            rules=load_rules(None),
            alert_min_volume_ml=min(thresholds, default=ALERT_MIN_VOLUME_ML),
        )
        self._job = AnalysisJob(catalogue, Store(settings.data_dir), settings, recipe, stop=stop, metrics=metrics)
        self.handlers: Mapping[JobKind, Handler] = {"analyse": self._job}

    def warm(self) -> None:
        """Clear what a crash left half-written, load and warm the model; raise SettingsError for labels it lacks."""
        sweep_staged(self._settings.results_dir)
        self._model().warm()

    def after_job(self) -> None:
        """Tell of failures, and let what was published go out."""
        self._tell()
        self._wake_delivery()

    def after_all(self) -> None:
        """Tell of failures that another worker left."""
        if self._tell():
            self._wake_delivery()

    def _model(self) -> Segmenter:
        if self._segmenter is None:
            segmenter = self._load_model()
            known = {label.name for label in segmenter.spec.haemorrhage_labels}
            check_labels(self._settings.finding_channels, known)
            self._segmenter = segmenter
            log.info("model_loaded", model=self._segmenter.spec.name, device=self._segmenter.device)
        return self._segmenter

    def _tell(self) -> int:
        return tell_of_failures(self._catalogue, self._job, self._settings.data_dir)

    def _wake_delivery(self) -> None:
        try:
            wake(self._client, QUEUE_DELIVER)
        except QueueUnreachable:
            log.warning("wake_up_left_to_reconciler", queue=QUEUE_DELIVER)
