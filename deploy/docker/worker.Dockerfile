# The worker, for CPUs and NVIDIA GPUs alike (torch brings CUDA; the host brings the driver). Build from the repository's root:
#   docker build -f deploy/docker/worker.Dockerfile -t arno/worker .
FROM python:3.11-slim AS build
WORKDIR /source
COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY services services
RUN python -m venv /opt/arno \
  && /opt/arno/bin/pip install --no-cache-dir --constraint constraints.txt '.[worker]'

FROM python:3.11-slim
COPY --from=build /opt/arno /opt/arno
ENV PATH=/opt/arno/bin:$PATH PYTHONUNBUFFERED=1 HOME=/tmp ARNO_METRICS_HOST=0.0.0.0 ARNO_METRICS_PORT=9464
USER 10001:10001
EXPOSE 9464
HEALTHCHECK --interval=10s --timeout=3s --start-period=120s \
  CMD ["python", "-c", "import urllib.request as r; r.urlopen('http://127.0.0.1:9464/readyz', timeout=2)"]
# `arno worker` handles SIGTERM itself: it drains and leaves.
ENTRYPOINT ["arno", "worker"]
