# Videos, cameras and topics of images: `arno stream` by default, `arno ingest` with another entry point. Build from the repository's root:
#   docker build -f deploy/docker/ingest.Dockerfile -t arno/ingest:0.1.0 .        (`make images` builds all)
FROM python:3.11-slim AS build
# track brings what follows objects, and all of ingest.
ARG EXTRAS=ingest
WORKDIR /source
COPY pyproject.toml constraints.txt LICENSE ./
COPY services services
RUN python -m venv --without-pip /opt/arno \
  && pip --python /opt/arno/bin/python install --no-cache-dir --constraint constraints.txt ".[${EXTRAS}]" \
  && rm -rf /opt/arno/lib/python3.11/site-packages/arno/engine/tiny

FROM python:3.11-slim
COPY --from=build /opt/arno /opt/arno
# The port of metrics is `arno ingest`'s alone.
ENV PATH=/opt/arno/bin:$PATH PYTHONUNBUFFERED=1 ARNO_METRICS_HOST=0.0.0.0 ARNO_METRICS_PORT=9464
USER 10001:10001
EXPOSE 9464
ENTRYPOINT ["arno", "stream"]
