# The gateway, and the operator's commands: no torch, and nothing that it does not run. Build from the repository's root:
#   docker build -f deploy/docker/gateway.Dockerfile -t arno/gateway:0.1.0 .        (`make images` builds all)
FROM python:3.11-slim AS build
# Debug symbols are a third of the libraries' size.
RUN apt-get update && apt-get install --yes --no-install-recommends binutils=2.* && rm -rf /var/lib/apt/lists/*
WORKDIR /source
COPY pyproject.toml constraints.txt LICENSE ./
COPY services services
# Without pip, bytecode and the bundled model, which only workers load.
RUN python -m venv --without-pip /opt/arno \
  && pip --python /opt/arno/bin/python install --no-cache-dir --no-compile --constraint constraints.txt '.[gateway,traces]' \
  && find /opt/arno -name '*.so*' -type f -exec strip --strip-unneeded {} + \
  && rm -rf /opt/arno/lib/python3.11/site-packages/arno/engine/tiny

FROM python:3.11-slim
COPY --from=build /opt/arno /opt/arno
ENV PATH=/opt/arno/bin:$PATH PYTHONUNBUFFERED=1 ARNO_LISTEN=0.0.0.0:50051 ARNO_METRICS_HOST=0.0.0.0 ARNO_METRICS_PORT=9464
USER 10001:10001
EXPOSE 50051 9464
HEALTHCHECK --interval=10s --timeout=3s --start-period=20s \
  CMD ["python", "-c", "import urllib.request as r; r.urlopen('http://127.0.0.1:9464/readyz', timeout=2)"]
# `arno gateway` handles SIGTERM itself: it drains and leaves.
ENTRYPOINT ["arno", "gateway"]
