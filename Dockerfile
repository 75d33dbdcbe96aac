# One image for every part of the node; the command says which. Holds the wheel, not the source.
FROM python:3.11-slim AS wheel
WORKDIR /src
COPY pyproject.toml README.md LICENSE ./
COPY ichor ichor
COPY listener listener
COPY models models
COPY worker worker
COPY console console
RUN pip wheel --no-deps --wheel-dir /wheel .

FROM python:3.11-slim
# Nothing in a working directory may stand in for one of our packages.
ENV PYTHONSAFEPATH=1 PYTHONUNBUFFERED=1 PIP_NO_CACHE_DIR=1
RUN apt-get update && apt-get install -y --no-install-recommends redis-server tzdata && rm -rf /var/lib/apt/lists/* \
 && useradd --create-home --uid 10001 ichor \
 && install -d -o ichor -g ichor -m 0700 /var/lib/ichor /var/lib/ichor/models
RUN --mount=type=bind,from=wheel,source=/wheel,target=/wheel \
    pip install "$(echo /wheel/ichor_node-*.whl)[postgres]"
USER ichor
WORKDIR /home/ichor
ENV ICHOR_DATA_DIR=/var/lib/ichor
STOPSIGNAL SIGTERM
ENTRYPOINT ["ichor"]
CMD ["serve"]
