"""The Helm chart, rendered: a stage of its own, since it needs helm (`.ci/helm`, `make test-kubernetes`)."""
