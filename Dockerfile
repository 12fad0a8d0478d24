# syntax=docker/dockerfile:1

FROM rust:1.95-slim-bookworm AS build
WORKDIR /src

# The dependencies alone: this layer is rebuilt only when they change. The manifest wants its other targets to exist.
COPY Cargo.toml Cargo.lock ./
RUN mkdir -p src benches/compare benches/fanout tests/suite \
    && echo 'fn main() {}' > src/main.rs \
    && touch src/lib.rs benches/compare/main.rs benches/fanout/main.rs tests/suite/main.rs \
    && cargo build --profile dist --locked \
    && rm -r src

COPY src src
# Cargo goes by the time of the files, and these may be older than the placeholders were.
RUN find src -name '*.rs' -exec touch {} + \
    && cargo build --profile dist --locked --bin threadcast

FROM debian:bookworm-slim
COPY --from=build /src/target/dist/threadcast /usr/local/bin/threadcast
# The authorities that a Redis with TLS is checked against.
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt

USER 65532:65532
ENV PUBSUB_HOST=0.0.0.0
EXPOSE 8080
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=3s --start-period=5s CMD ["/usr/local/bin/threadcast", "healthcheck"]
ENTRYPOINT ["/usr/local/bin/threadcast"]
