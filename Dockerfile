# syntax=docker/dockerfile:1
# The program in two images:
#
#   docker build --target services .     for services over a KurrentDB and a Postgres of their own; what docker-compose.yml uses
#   docker build --target embedded .     with Postgres's server programs, for one container with everything in it
#
# Both run as the user 2000 with nothing to write to but, in the second, the data directory.

FROM rust:1.95-slim-bookworm AS builder
WORKDIR /build
COPY . .
# What cargo fetched and built stays from one build of the image to the next. Symbols are for debuggers, who have the source;
# a panic says its place without them.
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/build/target \
    cargo build --release --locked --package allocation-ledger \
    && install -D --strip target/release/allocation-ledger /out/allocation-ledger

FROM debian:bookworm-slim AS runtime
# ca-certificates: whom to believe when a store is reached by TLS. curl: for the health check. Both as Debian has them now.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends ca-certificates curl \
    && rm -rf /var/lib/apt/lists/* \
    && groupadd --gid 2000 ledger \
    && useradd --uid 2000 --gid ledger --no-create-home --home-dir /var/lib/allocation-ledger --shell /usr/sbin/nologin ledger \
    && install --directory --owner ledger --group ledger --mode 0700 /var/lib/allocation-ledger
COPY --from=builder /out/allocation-ledger /usr/local/bin/allocation-ledger
USER 2000:2000
# A container's loopback address is its own, so it listens to others; and refuses to start until LEDGER_TRUST_NETWORK=true
# says that the network lets in nobody but a gateway that authenticates.
ENV LEDGER_LISTEN=0.0.0.0:8080 \
    LEDGER_LOG_FORMAT=json
EXPOSE 8080
# SIGTERM ends it in order, also as process 1; give it 30 seconds (docker stop --time 30).
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s --start-interval=1s --retries=3 \
    CMD ["curl", "--fail", "--silent", "--show-error", "--max-time", "4", "http://127.0.0.1:8080/health/readiness"]
ENTRYPOINT ["allocation-ledger"]
CMD ["serve"]

FROM runtime AS embedded
USER 0
# Debian would make a cluster of its own, which nobody needs.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends postgresql-common \
    && echo 'create_main_cluster = false' >> /etc/postgresql-common/createcluster.conf \
    && apt-get install --yes --no-install-recommends postgresql-15 \
    && rm -rf /var/lib/apt/lists/*
USER 2000:2000
ENV LEDGER_DATA_DIR=/var/lib/allocation-ledger
VOLUME /var/lib/allocation-ledger

# Last, so that it is what a build without --target makes.
FROM runtime AS services
