import { file, oneOf, optionalFile, section, wholeNumber } from "../values.ts";

/** Where sessions can be looked for. */
export const index = section({
  // A gateway needs no state to serve, and a container has no disk to keep some on unless it is given one.
  type: oneOf(["none", "sqlite", "postgresql"], {
    fallback: "none",
    description:
      "`none`: there is no index; events and recordings are kept all the same. `sqlite`: a file, for a gateway that " +
      "runs alone. `postgresql`: a server, for all replicas.",
  }),
  sqlite: section({
    path: file().default("/var/lib/postern/index.sqlite").meta({
      description: "The file. It is made with mode 0600, on a disk of this machine.",
    }),
  }).prefault({}).meta({ description: "The index as a file." }),
  postgresql: section({
    urlFile: file().default("/etc/postern/index/url").meta({
      description:
        "File that holds `postgresql://USER:PASSWORD@HOST:5432/DATABASE`. The tables are in the schema `postern`, " +
        "which is made where there is none. The connection is TLS with a verified server, unless it is to 127.0.0.1.",
    }),
    caFile: optionalFile(
      "PEM file of the authorities that may vouch for the server. Absent: those that the system trusts.",
    ),
    maxConnections: wholeNumber({
      from: 2,
      to: 100,
      fallback: 4,
      description: "How many connections a replica may have open.",
    }),
  }).prefault({}).meta({ description: "The index in PostgreSQL." }),
}).prefault({}).meta({
  description:
    "Where sessions can be looked for: what `postern sessions` and the API list. It is made from the events, can be " +
    "made anew from them (`postern index rebuild`), and no session waits for it.",
});
