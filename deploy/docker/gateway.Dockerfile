# The gateway: no torch, so the image stays small. Build from the repository's root:
#   docker build -f deploy/docker/gateway.Dockerfile -t arno/gateway .
FROM python:3.11-slim AS build
WORKDIR /source
COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY services services
RUN python -m venv /opt/arno \
  && /opt/arno/bin/pip install --no-cache-dir --constraint constraints.txt '.[gateway]'

FROM python:3.11-slim
COPY --from=build /opt/arno /opt/arno
ENV PATH=/opt/arno/bin:$PATH PYTHONUNBUFFERED=1 ARNO_LISTEN=0.0.0.0:50051 ARNO_METRICS_HOST=0.0.0.0 ARNO_METRICS_PORT=9464
USER 10001:10001
EXPOSE 50051 9464
HEALTHCHECK --interval=10s --timeout=3s --start-period=20s \
  CMD ["python", "-c", "import urllib.request as r; r.urlopen('http://127.0.0.1:9464/readyz', timeout=2)"]
# `arno gateway` handles SIGTERM itself: it drains and leaves.
ENTRYPOINT ["arno", "gateway"]
