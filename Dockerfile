# The broker as an image: every package pinned by hash, no compiler and no build tool in what runs, a user without rights.

FROM python:3.13-slim-bookworm AS build
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
WORKDIR /build
COPY requirements-build.lock requirements.lock ./
RUN python -m venv /opt/tools \
 && python -m venv /opt/broker \
 && /opt/tools/bin/pip install --require-hashes --requirement requirements-build.lock \
 && /opt/broker/bin/pip install --require-hashes --requirement requirements.lock
COPY pyproject.toml README.md LICENSE NOTICE ./
COPY migrations migrations
COPY policies policies
COPY fhir_profiles fhir_profiles
COPY broker broker
RUN /opt/tools/bin/pip wheel --no-deps --no-build-isolation --wheel-dir /build/dist . \
 && /opt/broker/bin/pip install --no-deps --no-index --find-links /build/dist data-sharing-broker

FROM python:3.13-slim-bookworm
LABEL org.opencontainers.image.title="data-sharing-broker" \
      org.opencontainers.image.licenses="Apache-2.0"
# The quarterly review is set in a font that has Chinese; Debian keeps one version of it for each release.
# hadolint ignore=DL3008
RUN apt-get update \
 && apt-get install --yes --no-install-recommends fonts-noto-cjk \
 && rm -rf /var/lib/apt/lists/*
COPY --from=build /opt/broker /opt/broker
# The one folder that may be written to. With all keys given by files nothing need be kept in it.
RUN install --directory --owner=10001 --group=10001 --mode=0700 /var/lib/broker
ENV PATH=/opt/broker/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 BROKER_VAR=/var/lib/broker
USER 10001:10001
WORKDIR /var/lib/broker
EXPOSE 8000
HEALTHCHECK --interval=10s --timeout=3s --start-period=20s --retries=3 \
  CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8000/livez', timeout=2)"]
ENTRYPOINT ["broker"]
CMD ["serve", "--host", "0.0.0.0"]
