# A service for one recogniser, see docs/service.md: docker build -t siglum .
FROM debian:trixie-slim AS base
RUN apt-get update && apt-get install -y --no-install-recommends python3 \
    && rm -rf /var/lib/apt/lists/* /var/cache/apt /var/cache/debconf /var/log/*

FROM base AS build
RUN apt-get update && apt-get install -y --no-install-recommends python3-pip
COPY . /source
RUN python3 -m pip install --no-compile --target /packages /source \
    && rm -rf /packages/onnxruntime/transformers /packages/onnxruntime/quantization /packages/bin \
    && find /packages -type d -name tests -prune -exec rm -r {} +
# Compiles what the service imports, and nothing else: it cannot write its cache when it runs.
RUN PYTHONPATH=/packages python3 -c "import onnxruntime, siglum.cli.studio, siglum.studio.service"

FROM base
COPY --from=build /packages /packages
# /dev/shm is writable where the rest is not: uploads of more than 1 MB wait there.
ENV PYTHONPATH=/packages PYTHONDONTWRITEBYTECODE=1 TMPDIR=/dev/shm
USER 10001:10001
EXPOSE 8000
HEALTHCHECK CMD ["python3", "-c", "import urllib.request as r; r.urlopen('http://127.0.0.1:8000/health')"]
ENTRYPOINT ["python3", "-m", "siglum", "serve"]
CMD ["/recogniser.siglum", "--host", "0.0.0.0"]
