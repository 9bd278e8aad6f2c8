"""Tells in the metrics which release a process is, and of which part (docs/metrics.md)."""

from importlib.metadata import PackageNotFoundError, version

from prometheus_client import CollectorRegistry, Gauge

from reconciliation.counters import PREFIX

_PACKAGE = "enrolment-reconciliation"


def release() -> str:
    """Give the installed version, "unknown" where the program runs from its folder without being installed."""
    try:
        return version(_PACKAGE)
    except PackageNotFoundError:
        return "unknown"


def show_build(registry: CollectorRegistry, part: str) -> None:
    """Register what names this process; `part` is bridge or worker."""
    info = Gauge(
        PREFIX + "build_info",
        "1, with the release and the part in the labels",
        ["version", "part"],
        registry=registry,
        multiprocess_mode="max",
    )
    info.labels(release(), part).set(1)
