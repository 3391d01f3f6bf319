import { CatalogError } from "./catalog_error.ts";
import type { Query, Store } from "./store.ts";

/**
 * How the tables came to be, one version after the other. A version that was published is never changed; a new one is added.
 *
 * @param text the type of texts
 */
const VERSIONS: readonly ((text: string) => readonly string[])[] = [
  (text) => [
    `create table sessions (
      audit_id ${text} primary key,
      started_at ${text} not null,
      username ${text},
      impersonated_user ${text},
      source_ip ${text},
      user_agent ${text},
      verb ${text},
      kind ${text},
      namespace ${text},
      pod ${text},
      pod_uid ${text},
      node ${text},
      container ${text},
      container_kind ${text},
      image ${text},
      argv ${text},
      argv_text ${text},
      tty boolean,
      stdin boolean,
      protocol ${text},
      denied boolean,
      recording ${text},
      recording_link ${text},
      recording_error ${text},
      fallback_of ${text},
      upstream_audit_id ${text},
      decided_by ${text},
      decided_at ${text},
      allowed boolean,
      rule ${text},
      reason ${text},
      obligations ${text},
      privileged boolean,
      opened_at ${text},
      upstream ${text},
      upstream_protocol ${text},
      outcome ${text},
      ended_at ${text},
      end_reason ${text},
      ended_by ${text},
      message ${text},
      code bigint,
      exit_code bigint,
      bytes_in bigint,
      bytes_out bigint,
      duration_ms bigint
    )`,
    `create table decisions (
      audit_id ${text} not null,
      event_key ${text} not null,
      at ${text} not null,
      allowed boolean not null,
      rule ${text},
      reason ${text},
      obligations ${text},
      primary key (audit_id, event_key)
    )`,
    `create table streams (
      audit_id ${text} not null,
      event_key ${text} not null,
      name ${text} not null,
      stream_id bigint,
      bytes_in bigint not null,
      bytes_out bigint not null,
      opened_at ${text} not null,
      duration_ms bigint not null,
      ended_by ${text},
      primary key (audit_id, event_key)
    )`,
    `create table connections (
      audit_id ${text} not null,
      event_key ${text} not null,
      request_id ${text} not null,
      port bigint not null,
      bytes_in bigint not null,
      bytes_out bigint not null,
      opened_at ${text} not null,
      duration_ms bigint not null,
      ended_by ${text},
      error ${text},
      denied boolean not null,
      primary key (audit_id, event_key)
    )`,
    `create table feeds (name ${text} primary key, applied_until ${text} not null)`,
    "create index sessions_by_time on sessions (started_at, audit_id)",
    "create index sessions_by_user on sessions (username, started_at, audit_id)",
    "create index sessions_by_pod on sessions (namespace, pod, started_at, audit_id)",
    "create index sessions_live on sessions (started_at, audit_id) where opened_at is not null and ended_at is null",
    "create index sessions_denied on sessions (started_at, audit_id) where denied",
    "create index sessions_privileged on sessions (started_at, audit_id) where privileged",
  ],
];

/** The newest version there is. */
export const SCHEMA_VERSION = VERSIONS.length;

/**
 * Brings a database to the newest version; one that is there already is left as it is.
 *
 * @throws {CatalogError} `version`, where it is newer than this program; `unavailable`
 */
export async function migrate(store: Store): Promise<void> {
  await store.transaction(async ({ query }) => {
    await query("create table if not exists schema_version (version bigint not null)");
    const version = await versionOf(query);
    if (version > SCHEMA_VERSION) {
      const message =
        `${store.name} has version ${version} of the index, and this program knows ${SCHEMA_VERSION}`;
      throw new CatalogError("version", message);
    }
    if (version === SCHEMA_VERSION) return;
    for (const statements of VERSIONS.slice(version)) {
      for (const statement of statements(store.textType)) await query(statement);
    }
    await query("delete from schema_version");
    await query("insert into schema_version (version) values ($1)", [SCHEMA_VERSION]);
  });
}

async function versionOf(query: Query): Promise<number> {
  const [row] = await query("select max(version) as version from schema_version");
  return typeof row?.version === "number" ? row.version : 0;
}
