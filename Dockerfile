# Images of stt-batch. The last target is for workers and the command line:
#   docker build -t stt-batch .
# The target `server` also contains the embedded recognizer and its English model, for the self-hosted service:
#   docker build -t stt-batch-server --target server .
# In August 2026, the tag of the base image had this digest. To build with exactly this image:
#   docker build --build-context python:3.11.15-slim-bookworm=docker-image://python@sha256:d29f48a31a8b408ed19272ca1e7b10ebae13b240a27e862d3d4217c528e2e0c3 .
# All commands run with a read-only root file system and a writable /tmp:
#   docker run --read-only --tmpfs /tmp stt-batch --help

# -- installation: layers that rarely change come first ----------------------------------------------------------------
# Third-party packages are installed from lists with the sha256 of every file (written by .ci/lock).
FROM python:3.11.15-slim-bookworm AS build
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore
WORKDIR /src
COPY .ci/requirements-build.txt .ci/requirements-build.txt
# No pip inside /opt/stt: nothing can be installed into the image later.
RUN python3 -m venv --without-pip /opt/stt \
    && python3 -m pip install -q --require-hashes -r .ci/requirements-build.txt

FROM build AS build-server
COPY .ci/requirements-server.txt .ci/requirements-server.txt
RUN python3 -m pip --python /opt/stt/bin/python install -q --require-hashes -r .ci/requirements-server.txt
COPY pyproject.toml README.md LICENSE ./
COPY worker worker
COPY tasks tasks
RUN python3 -m pip wheel -q --no-deps --no-build-isolation -w /tmp/wheel . \
    && python3 -m pip --python /opt/stt/bin/python install -q --no-deps /tmp/wheel/*.whl

FROM build AS build-worker
COPY .ci/requirements-worker.txt .ci/requirements-worker.txt
RUN python3 -m pip --python /opt/stt/bin/python install -q --require-hashes -r .ci/requirements-worker.txt
COPY pyproject.toml README.md LICENSE ./
COPY worker worker
COPY tasks tasks
RUN python3 -m pip wheel -q --no-deps --no-build-isolation -w /tmp/wheel . \
    && python3 -m pip --python /opt/stt/bin/python install -q --no-deps /tmp/wheel/*.whl

# -- common base of the images ------------------------------------------------------------------------------------------
FROM python:3.11.15-slim-bookworm AS base
ARG VERSION=0.2.0
ARG REVISION=unknown
ARG CREATED=1970-01-01T00:00:00Z
LABEL org.opencontainers.image.title="stt-batch" \
      org.opencontainers.image.description="Batch speech-to-text over a real-time Socket.IO API" \
      org.opencontainers.image.licenses="MIT" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.created="${CREATED}"
RUN python3 -m pip uninstall -q -y pip setuptools wheel \
    && rm -rf "$(python3 -c 'import ensurepip, os; print(os.path.dirname(ensurepip.__file__))')" \
    && groupadd --gid 10001 stt && useradd --uid 10001 --gid stt --no-create-home --home-dir /tmp --shell /usr/sbin/nologin stt \
    && install -d -m 1777 /models
# Files are written to /tmp, except transcripts and downloaded models (/models).
ENV PATH=/opt/stt/bin:$PATH HOME=/tmp PYTHONUNBUFFERED=1 STT_HEALTH_FILE=/tmp/stt-health
WORKDIR /tmp
USER 10001:10001
ENTRYPOINT ["stt-batch"]
# Checks that the process is alive; `stt-batch health --ready` also checks that it can run jobs.
HEALTHCHECK --interval=15s --timeout=5s --start-period=60s --retries=3 CMD ["stt-batch", "health"]

# -- the images --------------------------------------------------------------------------------------------------------
FROM base AS server
LABEL org.opencontainers.image.title="stt-batch-server"
COPY --from=build-server /opt/stt /opt/stt
ENV STT_SERVER_HOST=0.0.0.0 STT_SERVER_MODEL_CACHE=/models
EXPOSE 8808
CMD ["server"]

FROM base AS worker
COPY --from=build-worker /opt/stt /opt/stt
ENV STT_METRICS_HOST=0.0.0.0
EXPOSE 9808
CMD ["worker"]
