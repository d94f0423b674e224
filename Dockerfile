# Dockerfile — the agent's image: nothing but the static executable. `scripts/image` makes the same
# one without a container daemon. `./mirrord-agent` is the command of the original's pods.
FROM debian:bookworm AS build
RUN apt-get update && apt-get install --yes --no-install-recommends git ca-certificates
COPY . /source
RUN cd /source && scripts/build release \
 && mkdir --parents --mode 1777 /image/tmp && cp build/release/bin/mirrord /image/mirrord \
 && ln -s mirrord /image/mirrord-agent

FROM scratch
COPY --from=build /image/ /
WORKDIR /
ENTRYPOINT ["/mirrord", "agent"]
