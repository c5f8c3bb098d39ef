# The program, and `bench`, which measures it, in two images:
#
#   docker build --target services .     for services whose stores run elsewhere; docker-compose.yml uses it
#   docker build --target embedded .     with the Postgres server programs, for one container with everything
#
# Both run as the user 2000. The only directories that it may write to are the data directory of the
# second, and /naming-key, for a volume with the naming key that `prepare` makes.

FROM rust:1.95.0-slim-bookworm AS builder
WORKDIR /build
COPY . .
# The commit and the number of the build, which `/info` and `--version` tell. Git is not asked: the
# image is built from the sources alone.
ARG GIT_REF=""
ARG BUILD_NUMBER=""
# The caches keep what cargo fetched and built from one build of the image to the next. The program
# is stripped: a panic says its place without symbols.
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/build/target \
    cargo build --release --locked --package allocation-ledger --package bench \
    && install -D --strip --target-directory /out target/release/allocation-ledger target/release/bench

FROM debian:12.12-slim AS runtime
# ca-certificates: the authorities for TLS to a store, as Debian has them now.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends ca-certificates \
    && rm -rf /var/lib/apt/lists/* \
    && groupadd --gid 2000 ledger \
    && useradd --uid 2000 --gid ledger --no-create-home --home-dir /var/lib/allocation-ledger --shell /usr/sbin/nologin ledger \
    && install --directory --owner ledger --group ledger --mode 0700 /var/lib/allocation-ledger /naming-key
COPY --from=builder /out/ /usr/local/bin/
USER 2000:2000
# The loopback address of a container is its own, so the program listens on all addresses. It
# refuses to start until LEDGER_AUTH_JWKS_URL or LEDGER_AUTH_KEY_FILE says whose tokens are valid.
ENV LEDGER_LISTEN=0.0.0.0:8080 \
    LEDGER_LOG_FORMAT=json
EXPOSE 8080
# SIGTERM ends the program in order, also as process 1; allow it 30 seconds (docker stop --time 30).
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s --start-interval=1s --retries=3 \
    CMD ["allocation-ledger", "health"]
ENTRYPOINT ["allocation-ledger"]
CMD ["serve"]

FROM runtime AS embedded
USER 0
# Keeps Debian from making a Postgres cluster that is not used.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends postgresql-common \
    && echo 'create_main_cluster = false' >> /etc/postgresql-common/createcluster.conf \
    && apt-get install --yes --no-install-recommends postgresql-15 \
    && rm -rf /var/lib/apt/lists/*
USER 2000:2000
ENV LEDGER_DATA_DIR=/var/lib/allocation-ledger
VOLUME /var/lib/allocation-ledger

# Last, so that a build without --target makes it.
FROM runtime AS services
