# syntax=docker/dockerfile:1

FROM python:3.11-slim-bookworm AS wheels
# Packages that come as source (pure Python ones alone: there is no compiler) are built here, not in the last stage.
COPY requirements-runtime.txt .
RUN pip wheel --no-cache-dir --require-hashes --requirement requirements-runtime.txt --wheel-dir /wheels

FROM python:3.11-slim-bookworm
LABEL org.opencontainers.image.title="enrolment-reconciliation" \
      org.opencontainers.image.description="A Kafka bridge and Celery workers that recompute a learner's enrolment" \
      org.opencontainers.image.version="0.3.0" \
      org.opencontainers.image.licenses="MIT"
ENV PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONPATH=/app
RUN groupadd --gid 10001 reconciliation \
    && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /tmp --shell /usr/sbin/nologin reconciliation
# The hashes were checked when the wheels were made; the mount leaves no copy of them in the image.
RUN --mount=type=bind,from=wheels,source=/wheels,target=/wheels \
    pip install --no-cache-dir --no-index --no-deps /wheels/*.whl
WORKDIR /app
COPY LICENSE celeryconfig.py flowerconfig.py ./
COPY bridge bridge
COPY bulk bulk
COPY commands commands
COPY ledger ledger
COPY reconciliation reconciliation
COPY tasks tasks
COPY worker worker
# What an installed package says of itself: release() reads the version there (reconciliation/build_info.py).
RUN mkdir enrolment_reconciliation.dist-info \
    && printf 'Metadata-Version: 2.1\nName: enrolment-reconciliation\nVersion: 0.3.0\n' \
        > enrolment_reconciliation.dist-info/METADATA \
    && python -m compileall -q /app \
    && printf '#!/bin/sh\nexec python -m commands "$@"\n' > /usr/local/bin/enrolment-reconciliation \
    && chmod 755 /usr/local/bin/enrolment-reconciliation
USER 10001:10001
# Bridge and workers publish their metrics here, and Flower listens on the last.
EXPOSE 9464 9465 5555
# A list, so that the process itself gets SIGTERM and no shell stands in between.
CMD ["python", "-m", "bridge"]
