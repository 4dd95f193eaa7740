# The worker for NVIDIA GPUs: torch brings CUDA 13.2, the host brings the driver, 580 or newer. Build from the repository's root:
#   docker build -f deploy/docker/worker-cuda.Dockerfile -t arno/worker-cuda:0.1.0 .        (`make images` builds all)
FROM python:3.11-slim AS build
WORKDIR /source
COPY pyproject.toml constraints.txt LICENSE ./
COPY services services
RUN python -m venv /opt/arno \
  && /opt/arno/bin/pip install --no-cache-dir --constraint constraints.txt '.[worker,traces]'

FROM python:3.11-slim
# A start compiles the vision encoder, and Triton calls a C compiler for it; without one the encoder runs uncompiled.
# hadolint ignore=DL3008
RUN apt-get update && apt-get install --no-install-recommends -y g++ && rm -rf /var/lib/apt/lists/*
COPY --from=build /opt/arno /opt/arno
# A new volume that is mounted here belongs to its user.
RUN install --directory --owner 10001 --group 10001 /models
# Downloaded models and compiled kernels go to /tmp, which a read-only image has for them.
ENV PATH=/opt/arno/bin:$PATH PYTHONUNBUFFERED=1 HOME=/tmp TORCHINDUCTOR_CACHE_DIR=/tmp/inductor ARNO_METRICS_HOST=0.0.0.0 ARNO_METRICS_PORT=9464
USER 10001:10001
EXPOSE 9464
HEALTHCHECK --interval=10s --timeout=3s --start-period=120s \
  CMD ["python", "-c", "import urllib.request as r; r.urlopen('http://127.0.0.1:9464/readyz', timeout=2)"]
# `arno worker` handles SIGTERM itself: it drains and leaves.
ENTRYPOINT ["arno", "worker"]
