/**
 * `Containerfile`, for those who have Docker, Podman or Buildah: the same files and the same settings as `deno task image`
 * writes, which makes them here too. `deno task generate` writes it.
 */

import type { Described } from "./image_config.ts";

/** Where the build stage's parts come from. */
const BUILDER = "docker.io/library/node:22-bookworm";

/** @returns the file's text */
export function containerfile({ config }: Described): string {
  const label = ([name, value]: [string, string]) => `LABEL ${name}=${JSON.stringify(value)}`;
  return `# Made by \`deno task generate\` from package.json and deno.json.
#
#     docker build --build-arg REVISION="$(git rev-parse HEAD)" --tag postern.dev/postern .
#
# Debian brings apt-get and dpkg-deb, which fetch the libraries that Deno is linked to; what is fetched is checked against
# package-lock.json and deploy/image/libraries.ts. Nothing of this stage is in the image but the folder it writes.
FROM --platform=$BUILDPLATFORM ${BUILDER} AS build
ARG TARGETPLATFORM
WORKDIR /source
COPY . .
RUN node setup.mjs && node_modules/deno/deno task image --platform "$TARGETPLATFORM" --unpacked /image

FROM scratch
COPY --from=build /image /
USER ${config.User}
WORKDIR ${config.WorkingDir}
${config.Env.map((variable) => `ENV ${variable}`).join("\n")}
ENTRYPOINT ${JSON.stringify(config.Entrypoint)}
CMD ${JSON.stringify(config.Cmd)}
${Object.entries(config.Labels).map(label).join("\n")}
ARG REVISION=unknown
LABEL org.opencontainers.image.revision=$REVISION
`;
}
