# The page, HTTP/JSON and the OpenAI-compatible API, behind a proxy that ends TLS. Build from the repository's root:
#   docker build -f deploy/docker/web.Dockerfile -t arno/web:0.1.0 .        (`make images` builds all)
FROM python:3.11-slim AS build
WORKDIR /source
COPY pyproject.toml constraints.txt LICENSE ./
COPY services services
RUN python -m venv --without-pip /opt/arno \
  && pip --python /opt/arno/bin/python install --no-cache-dir --constraint constraints.txt '.[web]' \
  && rm -rf /opt/arno/lib/python3.11/site-packages/arno/engine/tiny

FROM python:3.11-slim
COPY --from=build /opt/arno /opt/arno
ENV PATH=/opt/arno/bin:$PATH PYTHONUNBUFFERED=1 ARNO_WEB_LISTEN=0.0.0.0:8080 ARNO_WEB_PUBLIC=true ARNO_METRICS_HOST=0.0.0.0 ARNO_METRICS_PORT=9464
USER 10001:10001
EXPOSE 8080 9464
ENTRYPOINT ["arno", "web"]
