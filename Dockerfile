# syntax=docker/dockerfile:1

# Build: docker build --build-arg VERSION=$(git describe --tags --always) -t stanch .
# Run:   docker run --read-only --tmpfs /tmp --cap-drop ALL --security-opt no-new-privileges \
#          -p 8080:8080 -v stanch-data:/var/lib/stanch \
#          -v ./stanch.yaml:/etc/stanch/stanch.yaml:ro -v ./secrets:/etc/stanch/secrets:ro stanch
#
# The configuration sets data_dir: /var/lib/stanch. Secrets come as files or
# environment variables that it refers to; none is part of the image. /tmp holds
# the objects of a push while it is scanned and must be writable.

FROM golang:1.26-bookworm AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN --mount=type=cache,target=/go/pkg/mod go mod download
COPY . .
ARG VERSION=devel
RUN --mount=type=cache,target=/go/pkg/mod --mount=type=cache,target=/root/.cache/go-build \
    CGO_ENABLED=0 go build -trimpath \
      -ldflags "-s -w -buildid= -X stanch/internal/version.version=${VERSION}" \
      -o /out/stanch ./cmd/stanch \
 && install -d -m 0700 /out/data

# git fetches what a push brought; it is the only program beside ours. A scratch
# image would need its libraries copied by hand and would miss their updates.
FROM debian:bookworm-slim
RUN apt-get update \
 && apt-get install -y --no-install-recommends ca-certificates git \
 && rm -rf /var/lib/apt/lists/* \
 && find / -xdev -perm /6000 -type f -exec chmod a-s {} +

ARG VERSION=devel
LABEL org.opencontainers.image.title="Stanch" \
      org.opencontainers.image.description="Finds leaked credentials on push, contains them and reports what they did" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}"

COPY --from=build /out/stanch /usr/local/bin/stanch
COPY --from=build /src/LICENSE /usr/share/doc/stanch/LICENSE
COPY --from=build --chown=65532:65532 /out/data /var/lib/stanch

# No account of the base image: a number that owns nothing but its data.
USER 65532:65532
ENV HOME=/tmp
WORKDIR /var/lib/stanch
VOLUME /var/lib/stanch

# Webhooks. The admin address (metrics, health) listens on 127.0.0.1:9090 only.
EXPOSE 8080

# Asks http://127.0.0.1:9090/readyz; for another admin_listen override the check
# with `stanch health --url URL`.
HEALTHCHECK --interval=15s --timeout=5s --start-period=20s --retries=3 CMD ["stanch", "health"]

STOPSIGNAL SIGTERM
ENTRYPOINT ["stanch"]
CMD ["serve", "--config", "/etc/stanch/stanch.yaml"]
