# A static binary in an image with nothing else but CA certificates; the time
# zones are inside the binary (tag timetzdata). It runs as nobody in particular
# and needs no writable file system but /data.
FROM golang:1.26 AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY cmd cmd
COPY watcher watcher
COPY notify notify
COPY metrics metrics
ARG VERSION=dev
ARG REVISION=unknown
RUN CGO_ENABLED=0 go build -trimpath -buildvcs=false -tags timetzdata \
      -ldflags "-s -w -X main.version=${VERSION} -X main.revision=${REVISION}" \
      -o /out/jobwatcher ./cmd/jobwatcher \
 && mkdir -p /out/root/data \
 && cp /etc/ssl/certs/ca-certificates.crt /out/

FROM scratch
COPY --from=build /out/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
# Copied from one level above, so that the folder itself gets its owner.
COPY --from=build --chown=65532:65532 /out/root/ /
COPY --from=build /out/jobwatcher /jobwatcher
USER 65532:65532
WORKDIR /data
ENV JOBWATCHER_STORE=sqlite:/data/jobwatcher.db
VOLUME /data
EXPOSE 8080
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=3s --start-period=10s CMD ["/jobwatcher", "healthcheck"]
ENTRYPOINT ["/jobwatcher"]
CMD ["run"]
