"""What Prometheus reads at /metrics."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.platform_collector import PlatformCollector
from prometheus_client.process_collector import ProcessCollector
from prometheus_client.registry import Collector

from lutmac.server.logs import RequestRecord

if TYPE_CHECKING:
    from lutmac.engine.generating.worker import EngineStats

# From the step of a small model to a prompt of thousands of tokens on an old machine.
_FIRST_TOKEN = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120)
_BETWEEN_TOKENS = (0.002, 0.005, 0.01, 0.02, 0.03, 0.05, 0.075, 0.1, 0.2, 0.5, 1, 2.5)
_DURATION = (0.01, 0.05, 0.1, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600)


class Metrics:
    """Counters and histograms of the requests, beside what the engine says of itself."""

    def __init__(self, engines: Collector, *, by_model: bool = False) -> None:
        """engines: asked whenever somebody reads the metrics. by_model: whether figures are told apart by model."""
        self._registry = CollectorRegistry()
        self._by_model = by_model
        labels = ["model"] if by_model else []
        self._requests = Counter(
            "lutmac_requests", "Requests answered.", ["path", "status", *labels], registry=self._registry
        )
        self._seconds = Histogram(
            "lutmac_request_seconds", "From a request to the end of its answer.", ["path", *labels],
            buckets=_DURATION, registry=self._registry,
        )  # fmt: skip
        self._first_token = Histogram(
            "lutmac_time_to_first_token_seconds", "From a request to its first token.", labels,
            buckets=_FIRST_TOKEN, registry=self._registry,
        )  # fmt: skip
        self._between_tokens = Histogram(
            "lutmac_time_between_tokens_seconds", "From one token of a reply to the next.", labels,
            buckets=_BETWEEN_TOKENS, registry=self._registry,
        )  # fmt: skip
        self._registry.register(engines)
        ProcessCollector(registry=self._registry)
        PlatformCollector(registry=self._registry)

    def count(self, record: RequestRecord, path: str) -> None:
        """Takes note of an answered request. path: of a known endpoint, or "other" (labels must stay few)."""
        labels = self._labels(record.model)
        self._requests.labels(path, str(record.status), *labels).inc()
        self._seconds.labels(path, *labels).observe(record.seconds)

    def note_first_token(self, seconds: float, model: str | None) -> None:
        """Takes note of the time to a request's first token."""
        self._of(self._first_token, model).observe(seconds)

    def note_between_tokens(self, seconds: float, model: str | None) -> None:
        """Takes note of the time between two tokens of a reply."""
        self._of(self._between_tokens, model).observe(seconds)

    def _of(self, histogram: Histogram, model: str | None) -> Histogram:
        return histogram.labels(*self._labels(model)) if self._by_model else histogram

    def _labels(self, model: str | None) -> list[str]:
        return [model or ""] if self._by_model else []

    def text(self) -> bytes:
        """All of it, in Prometheus's text format."""
        return generate_latest(self._registry)


@dataclass(frozen=True)
class ModelFigures:
    """What is known of engines.

    engines: by the values of the labels. labels: which tell them apart. models: where there are several, of each
    whether it is loaded, how often it was, and the memory that it takes.
    """

    engines: Mapping[tuple[str, ...], EngineStats]
    labels: tuple[str, ...] = ()
    models: Mapping[str, tuple[bool, int, int]] = field(default_factory=dict)


class EngineCollector(Collector):
    """Asks the engines when Prometheus asks."""

    def __init__(self, figures: Callable[[], ModelFigures]) -> None:
        """figures: the engines' of the moment."""
        self._figures = figures

    def collect(self) -> Iterator[Metric]:
        """The figures, by Prometheus's names."""
        found = self._figures()
        yield from engine_metrics(found.engines, found.labels)
        if found.models:
            yield from _model_metrics(found.models)


def _model_metrics(models: Mapping[str, tuple[bool, int, int]]) -> Iterator[Metric]:
    loaded = GaugeMetricFamily("lutmac_model_loaded", "Whether the model is in memory.", labels=("model",))
    memory = GaugeMetricFamily("lutmac_model_memory_bytes", "Memory that is counted for it.", labels=("model",))
    loads = CounterMetricFamily("lutmac_model_loads", "How often it was loaded.", labels=("model",))
    for name, (is_loaded, count, nbytes) in models.items():
        loaded.add_metric((name,), is_loaded)
        memory.add_metric((name,), nbytes)
        loads.add_metric((name,), count)
    yield from (loaded, memory, loads)


def engine_metrics(found: Mapping[tuple[str, ...], EngineStats], labels: tuple[str, ...]) -> Iterator[Metric]:
    """Figures of engines by Prometheus's names. found: by the values of the labels, which tell engines apart."""
    families: dict[str, GaugeMetricFamily | CounterMetricFamily] = {}
    for values, stats in found.items():
        used, state = stats.pages_total - stats.pages_free, stats.snapshot_bytes
        for name, text, value in (
            ("lutmac_requests_running", "Replies in progress.", stats.running),
            ("lutmac_requests_waiting", "Replies that wait for a place.", stats.waiting),
            ("lutmac_batch_size", "Sequences in the last step.", stats.batch_size),
            ("lutmac_step_seconds", "How long the last step took.", stats.step_seconds),
            ("lutmac_kv_pages", "Pages of the key-value cache.", stats.pages_total),
            ("lutmac_kv_pages_used", "Of these, pages that replies in progress hold.", used),
            ("lutmac_state_memory_bytes", "Memory for states of fixed size.", stats.slots_total * state),
            ("lutmac_state_memory_used_bytes", "Of this, what replies in progress hold.", stats.slots_used * state),
            ("lutmac_snapshots", "Snapshots of states of fixed size, where prompts may go on.", stats.snapshots),
            ("lutmac_snapshot_bytes", "Memory that one of them takes.", stats.snapshot_bytes),
        ):
            families.setdefault(name, GaugeMetricFamily(name, text, labels=labels)).add_metric(values, value)
        for name, text, value in (
            ("lutmac_prompt_tokens", "Tokens of prompts.", stats.prompt_tokens),
            ("lutmac_generated_tokens", "Tokens generated.", stats.generated_tokens),
            ("lutmac_prefix_hit_tokens", "Tokens of prompts found in the cache.", stats.prefix_hit_tokens),
            ("lutmac_preemptions", "Replies that gave up their pages for a while.", stats.preemptions),
        ):
            families.setdefault(name, CounterMetricFamily(name, text, labels=labels)).add_metric(values, value)
    yield from families.values()
