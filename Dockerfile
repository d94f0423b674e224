# Dockerfile — the agent image: nothing but the static executable.
FROM debian:bookworm AS build
RUN apt-get update && apt-get install --yes --no-install-recommends git ca-certificates
COPY . /source
RUN cd /source && scripts/build release \
 && mkdir /image && cp build/release/bin/mirrord /image/mirrord && ln -s mirrord /image/mirrord-agent

FROM scratch
COPY --from=build /image/ /
WORKDIR /
ENTRYPOINT ["/mirrord", "agent"]
