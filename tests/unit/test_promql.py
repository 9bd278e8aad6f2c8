"""The reader of PromQL that holds dashboard and alerts to the metrics that are served."""

import pytest

from tests.support.promql import read


@pytest.mark.parametrize(
    ("expression", "metrics", "labels", "listed"),
    [
        ("up", {"up"}, set(), set()),
        ('up{job=~"$job", part!="a,b}"}', {"up"}, {("up", "job"), ("up", "part")}, set()),
        ("sum by (le, stage) (rate(a_bucket[$__rate_interval]))", {"a_bucket"}, set(), {"le", "stage"}),
        ("sum(rate(a[5m])) by (le) / 2 > 1e3", {"a"}, set(), {"le"}),
        ('x and on (job) y{z="1"} or vector(0)', {"x", "y"}, {("y", "z")}, {"job"}),
        ("deriv(sum(a)[15m:1m]) > 0", {"a"}, set(), set()),
        ("histogram_quantile(0.95, a)", {"a"}, set(), set()),
        ("a * on (i) group_left (v) b * on (i) group_left c offset 5m", {"a", "b", "c"}, set(), {"i", "v"}),
        ("time() - max(a and on(job) b) > 600", {"a", "b"}, set(), {"job"}),
    ],
)
def test_metrics_and_labels_are_found(
    expression: str, metrics: set[str], labels: set[tuple[str, str]], listed: set[str]
) -> None:
    used = read(expression)
    assert (used.metrics, used.labels, used.listed) == (metrics, labels, listed)


@pytest.mark.parametrize("expression", ["a{b}", "sum by a", "a ? b", "sum by (a", 'a{b="c'])
def test_what_cannot_be_read_is_refused(expression: str) -> None:
    with pytest.raises(ValueError, match=r"PromQL|list of labels|matcher"):
        read(expression)
