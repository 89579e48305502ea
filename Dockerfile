# The worker. Runs as nobody in particular, on a root file system that may be read-only; writes only below /tmp.
FROM python:3.13-slim AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
RUN python -m venv /opt/driftbus
WORKDIR /src
COPY requirements.lock ./
RUN /opt/driftbus/bin/pip install --require-hashes -r requirements.lock
COPY pyproject.toml README.md LICENSE ./
COPY schemas schemas
COPY detectors detectors
COPY stream stream
COPY src src
RUN /opt/driftbus/bin/pip install --no-deps --no-build-isolation . \
  && NUMBA_CACHE_DIR=/opt/driftbus/kernels /opt/driftbus/bin/python -m driftbus.stream.worker.warmup
COPY deploy/start /opt/driftbus/bin/start

FROM python:3.13-slim
# nobody needs pip at run time
RUN useradd --uid 10001 --user-group --no-create-home --home-dir /tmp --shell /usr/sbin/nologin driftbus \
  && python -m pip uninstall --yes --quiet pip --root-user-action ignore
COPY --from=build /opt/driftbus /opt/driftbus
# Machine code of the inner loops is in the image and is copied to NUMBA_CACHE_DIR at the start.
ENV PATH=/opt/driftbus/bin:$PATH HOME=/tmp NUMBA_CACHE_DIR=/tmp/numba PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
WORKDIR /tmp
USER 10001:10001
EXPOSE 9464
HEALTHCHECK --interval=15s --timeout=5s --start-period=60s --retries=4 \
  CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:9464/healthz', timeout=4)"]
ENTRYPOINT ["start"]
CMD ["run", "-c", "/etc/driftbus/driftbus.yaml"]
