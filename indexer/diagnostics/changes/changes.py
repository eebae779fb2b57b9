"""What moved from one version of a store to another."""

from __future__ import annotations

from dataclasses import dataclass, field

from indexer.diagnostics.changes.catalogue import catalogue_metrics, difference_between
from indexer.diagnostics.changes.categories import CategoryShifts
from indexer.diagnostics.changes.common_products import CommonProducts
from indexer.diagnostics.changes.moved_products import furthest_moved, most_neighbours_lost
from indexer.diagnostics.changes.neighbours import retention_chart, shift_between, shift_findings, shift_metrics
from indexer.diagnostics.changes.separability import separability_metrics
from indexer.diagnostics.changes.session_answers import SessionAnswers
from indexer.diagnostics.finding import Finding
from indexer.diagnostics.report import Chart, Metric, Section, Table
from indexer.diagnostics.session_sample import SessionSample
from indexer.diagnostics.settings import DiagnosisSettings
from indexer.diagnostics.space import VersionSpace
from indexer.refresh.recorded_limits import recorded_limits
from indexer.refresh.settings import RefreshSettings
from indexer.refresh.version_shift import VersionShift, shift_gates
from ubm_embed.progress import Progress, silent

_WITHOUT_CLASSIFIER = (
    "separability_auc was not measured: scikit-learn does not load ({}); type: pip install 'ubm-embed[diagnose]'"
)
_TWO_MODELS = (
    "two models made the vectors, which have no common coordinates: neighbours and answers are compared, "
    "but no centroids or categories"
)


def changes_section(
    before: VersionSpace,
    after: VersionSpace,
    sample: SessionSample | None,
    settings: DiagnosisSettings,
    progress: Progress = silent,
    *,
    refresh: RefreshSettings | None = None,
) -> Section:
    """Compare two versions of one store.

    Args:
        before, after: the earlier version and the later one.
        sample: sessions that both versions answer; None leaves answers out.
        refresh: the limits of its gates decide what counts as moved. None is those that the later version was published
            with.
    """
    refresh = refresh or RefreshSettings(gates=recorded_limits(after.opened.version))
    comparison = _Comparison(before, after, settings, refresh, progress)
    comparison.compare_catalogues()
    comparison.compare_neighbours()
    if comparison.same_model:
        comparison.compare_coordinates()
    else:
        comparison.notes.append(_TWO_MODELS)
    if sample is None:
        comparison.notes.append("answers to sessions were not compared: give a corpus")
    elif sample.corpus.interactions.height:
        comparison.compare_answers(sample)
    return comparison.section()


@dataclass
class _Comparison:
    """A comparison on its way to a section."""

    before: VersionSpace
    after: VersionSpace
    settings: DiagnosisSettings
    refresh: RefreshSettings
    progress: Progress
    metrics: list[Metric] = field(default_factory=list)
    tables: list[Table] = field(default_factory=list)
    charts: list[Chart] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.same_model = self.before.opened.version.vectors_model_id == self.after.opened.version.vectors_model_id
        self.common = CommonProducts.of(self.before, self.after)

    def compare_catalogues(self) -> None:
        """New, removed and changed products."""
        self.difference = difference_between(self.before, self.after)
        if self.difference is None:
            self.notes.append("new and changed products were not counted: older software wrote one of the versions")
        else:
            self.metrics += catalogue_metrics(self.difference, len(self.before), len(self.after))

    def compare_neighbours(self) -> None:
        """As the gates of a refresh, and the products behind it."""
        count = self.refresh.gate_queries
        shift = shift_between(self.before, self.after, count, same_model=self.same_model, progress=self.progress)
        gates = shift_gates(shift, self.refresh.gates, same_model=self.same_model)
        self.metrics += shift_metrics(shift, rounds=self.settings.rounds, seed=self.settings.seed)
        self.findings += shift_findings(gates, self.before, self.after)
        if not len(self.common):
            self.notes.append("the versions have no product in common")
            return
        self.charts += [retention_chart(shift)] if shift.rows.size else []
        self.tables += self._moved(shift)

    def _moved(self, shift: VersionShift) -> list[Table]:
        if not self.same_model:
            return most_neighbours_lost(self.common, shift)
        changed = self.common.after.product_ids[:0] if self.difference is None else self.difference.changed
        return furthest_moved(self.common, changed, self.settings)

    def compare_coordinates(self) -> None:
        """What has a meaning only if one model made all vectors."""
        try:
            self.metrics += separability_metrics(self.common, self.settings)
        except ImportError as error:  # where a store is only served, nothing else needs scikit-learn
            self.notes.append(_WITHOUT_CLASSIFIER.format(error))
        categories = CategoryShifts.measure(self.common, self.settings, self.refresh.gates.max_shift)
        self.metrics += categories.metrics()
        self.findings += categories.findings(self.before)
        if categories.shifts:
            self.tables.append(categories.table())
            self.charts.append(categories.chart())

    def compare_answers(self, sample: SessionSample) -> None:
        """The answers to the same sessions."""
        answers = SessionAnswers.ask(self.before, self.after, sample.corpus, self.progress)
        metric = answers.metric(rounds=self.settings.rounds, seed=self.settings.seed)
        self.metrics.append(metric)
        self.findings += answers.findings(metric, self.refresh.gates)
        self.tables.append(answers.table())
        self.charts.append(answers.chart())

    def section(self) -> Section:
        """What was found."""
        return Section(
            name="changes",
            title=f"From {self.before.name} to {self.after.name}",
            metrics=tuple(self.metrics),
            tables=tuple(self.tables),
            charts=tuple(self.charts),
            findings=tuple(self.findings),
            notes=tuple(self.notes),
        )
