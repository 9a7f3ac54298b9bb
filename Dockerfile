# Both programs as images, one target for each:
#   docker build --target nomad-events --tag nomad-events .
#   docker build --target nomad-vector --tag nomad-vector .    # needs Vector's git repository

# The version of rust-toolchain.toml; a test compares them. That file is not copied: it would fetch rustfmt and clippy.
FROM rust:1.95.0-slim-bookworm AS rust
WORKDIR /src

FROM rust AS build-nomad-events
# Dependencies first, in a layer that changes with the manifests only. Cargo wants every target that a manifest names.
COPY Cargo.toml Cargo.lock ./
RUN mkdir -p src examples tests/it benches \
    && touch examples/tail.rs tests/it/main.rs benches/ratios.rs \
    && echo '//! Empty.' > src/lib.rs \
    && printf '//! Empty.\nfn main() {}\n' > src/main.rs \
    && cargo build --release --locked --bin nomad-events
COPY src src
# Compiled in, for `demo` and `tail`.
COPY config config
COPY vrl vrl
COPY tests/fixtures tests/fixtures
# Files may be older here than what was built from the empty ones, and Cargo goes by their times.
RUN touch src/lib.rs src/main.rs \
    && cargo build --release --locked --bin nomad-events \
    && mkdir /var/lib/vector

FROM rust AS build-nomad-vector
# protoc and Google's messages; git for Vector's build script; make and perl for OpenSSL and jemalloc, which come as source.
# The archive keeps one version of a package, so none is named.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends git libprotobuf-dev make perl protobuf-compiler \
    && rm -rf /var/lib/apt/lists/*
COPY Cargo.toml ./
COPY vector/Cargo.toml vector/Cargo.lock vector/
WORKDIR /src/vector
RUN mkdir -p ../src ../examples ../tests/it ../benches src \
    && touch ../examples/tail.rs ../tests/it/main.rs ../benches/ratios.rs ../src/main.rs \
    && echo '//! Empty.' > ../src/lib.rs \
    && echo '//! Empty.' > src/lib.rs \
    && printf '//! Empty.\nfn main() {}\n' > src/main.rs \
    && cargo build --release --locked --bin nomad-vector
COPY src ../src
COPY vector/src src
RUN touch ../src/lib.rs src/lib.rs src/main.rs \
    && cargo build --release --locked --bin nomad-vector \
    && mkdir /var/lib/vector

# glibc, libgcc and the certificates of public authorities; no shell. Of the same Debian as what was built on.
# There are no tags for its versions, so the digest stands for one: that of Vector 0.56.0's own image.
# hadolint ignore=DL3007
FROM gcr.io/distroless/cc-debian12:latest@sha256:aa0b7af67fa8211751ea6e00baa8373ba56cc1417ffc986ec9619bd0e1556b56 AS runtime
# The programs in vrl/ are named relative to this.
WORKDIR /etc/nomad-events
COPY LICENSE ./
COPY config config
COPY vrl vrl
# Of the shipped configurations. The same in both images, so that one goes on where the other has stopped.
ENV NOMAD_EVENTS_DATA_DIR=/var/lib/vector
# `nonroot` of the image.
USER 65532:65532

FROM runtime AS nomad-vector
# Vector's `data_dir`: saved positions, disk buffers.
COPY --from=build-nomad-vector --chown=65532:65532 /var/lib/vector /var/lib/vector
VOLUME ["/var/lib/vector"]
COPY --from=build-nomad-vector /src/vector/target/release/nomad-vector /usr/local/bin/nomad-vector
ENTRYPOINT ["/usr/local/bin/nomad-vector"]
CMD ["--config", "config/vector.toml"]

# The last one is what is built without --target.
FROM runtime AS nomad-events
COPY --from=build-nomad-events --chown=65532:65532 /var/lib/vector /var/lib/vector
VOLUME ["/var/lib/vector"]
COPY --from=build-nomad-events /src/target/release/nomad-events /usr/local/bin/nomad-events
ENTRYPOINT ["/usr/local/bin/nomad-events"]
CMD ["run", "--config", "config/vector.toml"]
