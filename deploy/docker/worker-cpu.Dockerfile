# The worker for CPUs: torch without CUDA, an eighth of the size. Build from the repository's root:
#   docker build -f deploy/docker/worker-cpu.Dockerfile -t arno/worker-cpu:0.1.0 .        (`make images` builds all)
FROM python:3.11-slim AS build
# Where torch for CPUs comes from: its version of constraints.txt with "+cpu" is higher than the one without.
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
WORKDIR /source
COPY pyproject.toml constraints.txt LICENSE ./
COPY services services
RUN python -m venv /opt/arno \
  && /opt/arno/bin/pip install --no-cache-dir --extra-index-url "$TORCH_INDEX" \
    --constraint constraints.txt '.[worker,traces]'
# `tiny` compiles the vision encoder of the bundled model for the processor of this build.
ARG COMPILE=
# hadolint ignore=DL3008
RUN mkdir /opt/compiled && if [ -n "$COMPILE" ]; then \
    apt-get update && apt-get install --no-install-recommends -y g++ && rm -rf /var/lib/apt/lists/* \
    && /opt/arno/bin/arno model compile "$COMPILE" --compiled-folder /opt/compiled; fi

FROM python:3.11-slim
COPY --from=build /opt/arno /opt/arno
COPY --from=build /opt/compiled /opt/compiled
# A new volume that is mounted here belongs to its user.
RUN install --directory --owner 10001 --group 10001 /models
# Downloaded models and compiled kernels go to HOME; a read-only image has /tmp for it.
ENV PATH=/opt/arno/bin:$PATH PYTHONUNBUFFERED=1 HOME=/tmp ARNO_COMPILED_FOLDER=/opt/compiled ARNO_METRICS_HOST=0.0.0.0 ARNO_METRICS_PORT=9464
USER 10001:10001
EXPOSE 9464
HEALTHCHECK --interval=10s --timeout=3s --start-period=120s \
  CMD ["python", "-c", "import urllib.request as r; r.urlopen('http://127.0.0.1:9464/readyz', timeout=2)"]
# `arno worker` handles SIGTERM itself: it drains and leaves.
ENTRYPOINT ["arno", "worker"]
