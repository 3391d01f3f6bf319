import { randomUUID } from "node:crypto";
import { dirname, join } from "node:path";
import { NoAnswer, PostClient, type PostEndpoint, withoutQuery } from "../../audit/sinks/post_client.ts";
import { openPostgresql } from "../../catalog/open_catalog.ts";
import type { Configuration } from "../../config/gateway_configuration.ts";
import { ignoreBody, readText, S3Client } from "../../recording/sinks/s3_client.ts";
import { causeOf } from "./cause.ts";
import { type Judgement, note, ok, wrong } from "./finding.ts";

/** What trying a sink came to; absent `failure`: it takes what it is given. */
export interface SinkFacts {
  /** `audit file /var/log/postern/audit.log`. */
  what: string;
  failure?: string;
  /** What to do about it. */
  remedy: string;
}

/** Whether a sink takes what it is given. */
export function judgeSink({ what, failure, remedy }: SinkFacts): Judgement {
  return failure === undefined ? ok(`${what} can be written to`) : wrong(`${what}: ${failure}`, remedy);
}

/** What an HTTP status of a receiver says; `undefined`: it takes events. */
export function refusalOf(status: number): string | undefined {
  if (status >= 200 && status < 300) return undefined;
  if (status === 401 || status === 403) return `the receiver refuses our credentials (${status})`;
  if (status >= 300 && status < 400) return `the receiver redirects (${status}), which is not followed`;
  return `the receiver answers ${status}`;
}

/** Writes to every sink, and leaves nothing there. */
export async function checkSinks(configuration: Configuration): Promise<Judgement[]> {
  const { audit, recording, index } = configuration;
  const trials: Promise<SinkFacts>[] = audit.sinks.flatMap((sink) => {
    switch (sink.type) {
      case "stdout":
        return [];
      case "file":
        return [tryFile("audit file", sink.path)];
      case "webhook":
        return [
          tryFolder("spool of the webhook sink", sink.spool.directory),
          tryReceiver("webhook", sink, EMPTY_EVENTS),
        ];
      case "otlp":
        return [tryReceiver("otlp", sink, EMPTY_LOGS)];
      default:
        return sink satisfies never;
    }
  });
  const found: Judgement[] = [];
  if (recording.mode !== "off") {
    const { sink } = recording;
    trials.push(sink.type === "folder" ? tryFolder("folder of recordings", sink.path) : tryS3(sink));
  }
  if (index.type === "sqlite") trials.push(tryFile("index", index.sqlite.path));
  if (index.type === "postgresql") trials.push(tryPostgresql(index.postgresql));
  if (audit.sinks.length > 0 && audit.sinks.every(({ type }) => type === "stdout")) {
    found.push(note(
      "events go to the standard output alone: they are kept as long as whoever collects it keeps them",
      "add a sink of type file, webhook or otlp",
    ));
  }
  return [...found, ...(await Promise.all(trials)).map(judgeSink)];
}

/** What a receiver takes, and keeps nothing of. */
const EMPTY_EVENTS = JSON.stringify({
  kind: "EventList",
  apiVersion: "audit.k8s.io/v1",
  metadata: {},
  items: [],
});
const EMPTY_LOGS = JSON.stringify({ resourceLogs: [] });

const REMEDY_DISK =
  "give the gateway's user the right to write there (in a pod: a volume, and fsGroup), and look whether the disk is full";

async function tryFile(what: string, path: string): Promise<SinkFacts> {
  const named = { what: `${what} ${path}`, remedy: REMEDY_DISK };
  try {
    const there = await Deno.stat(path).catch(ignoreMissing);
    if (there === undefined) return { ...await tryFolder(what, dirname(path)), ...named };
    (await Deno.open(path, { append: true })).close();
    return named;
  } catch (thrown) {
    return { ...named, failure: diskFault(thrown) };
  }
}

/** Writes a file into a folder, or, where that is yet to be made, into the one that it would be made in. */
async function tryFolder(what: string, path: string): Promise<SinkFacts> {
  const named = { what: `${what} ${path}`, remedy: REMEDY_DISK };
  try {
    let folder = path;
    while (await Deno.stat(folder).catch(ignoreMissing) === undefined && dirname(folder) !== folder) {
      folder = dirname(folder);
    }
    const probe = join(folder, `.postern-doctor-${randomUUID()}`);
    try {
      using file = await Deno.open(probe, { createNew: true, write: true, mode: 0o600 });
      await file.write(new Uint8Array(4096));
      await file.sync();
    } finally {
      await Deno.remove(probe).catch(ignoreMissing);
    }
    return named;
  } catch (thrown) {
    return { ...named, failure: diskFault(thrown) };
  }
}

/** Without the platform's word for what it tried, and with which file: that was ours, and is gone. */
function diskFault(thrown: unknown): string {
  return causeOf(thrown).replace(/ \(os error \d+\)(: \w+ '.*')?$/, "");
}

function ignoreMissing(thrown: unknown): undefined {
  if (!(thrown instanceof Deno.errors.NotFound)) throw thrown;
}

async function tryReceiver(type: string, endpoint: PostEndpoint, nothing: string): Promise<SinkFacts> {
  const named = {
    what: `${type} sink ${withoutQuery(endpoint.url)}`,
    remedy: "check its URL, authority and credentials, and that a NetworkPolicy lets the gateway out to it",
  };
  using client = new PostClient(endpoint);
  try {
    await client.check();
    const { status } = await client.post(nothing, new AbortController().signal);
    const failure = refusalOf(status);
    return failure === undefined ? named : { ...named, failure };
  } catch (thrown) {
    return { ...named, failure: thrown instanceof NoAnswer ? thrown.message : causeOf(thrown) };
  }
}

/**
 * Begins an upload and abandons it: what is asked for is the right to write, and nothing stays, also where objects are locked.
 */
async function tryS3(
  sink: Extract<Configuration["recording"]["sink"], { type: "s3" }>,
): Promise<SinkFacts> {
  const { endpoint, region, bucket, prefix, addressing, caFile, sessionTokenFile } = sink;
  const named = {
    what: `recording store ${endpoint}, bucket ${bucket}`,
    remedy:
      "check the endpoint, the region, the bucket's name and the access key, which needs s3:PutObject and " +
      "s3:AbortMultipartUpload on the bucket's objects",
  };
  try {
    const { accessKeyIdFile, secretAccessKeyFile } = sink;
    using client = await S3Client.open({
      ...{ endpoint, region, bucket, addressing },
      ...(caFile !== undefined && { caFile }),
      credentials: {
        ...{ accessKeyIdFile, secretAccessKeyFile },
        ...(sessionTokenFile !== undefined && { sessionTokenFile }),
      },
      maxAttempts: 2,
    });
    const key = `${prefix}doctor/${randomUUID()}`;
    const answer = await client.send({ method: "POST", key, query: { uploads: "" } }, readText);
    const [, uploadId] = /<UploadId>([^<]{1,1024})<\/UploadId>/.exec(answer) ?? [];
    if (uploadId === undefined) return { ...named, failure: "its answer is not that of S3" };
    await client.send({ method: "DELETE", key, query: { uploadId } }, ignoreBody);
    return named;
  } catch (thrown) {
    return { ...named, failure: causeOf(thrown) };
  }
}

/** What may be done with the schema, or, where there is none yet, whether it may be made. */
const MAY_WRITE = `select pg_is_in_recovery() as standby, case when to_regnamespace('postern') is null
  then has_database_privilege(current_database(), 'CREATE')
  else has_schema_privilege('postern', 'CREATE') and not exists (
    select 1 from pg_tables where schemaname = 'postern'
      and not has_table_privilege(format('%I.%I', schemaname, tablename), 'INSERT'))
  end as writable`;

/** Asks the server what may be done. */
async function tryPostgresql(options: Configuration["index"]["postgresql"]): Promise<SinkFacts> {
  const named = {
    what: "index in PostgreSQL",
    remedy:
      "check the URL in `index.postgresql.urlFile`, the server's authority, and the role's rights on schema postern",
  };
  try {
    // A schema that is always there: the index's own would be made where it is not.
    const store = await openPostgresql({ ...options, maxConnections: 2 }, "pg_catalog");
    try {
      const [row] = await store.query(MAY_WRITE);
      if (row?.standby === true) {
        return { ...named, failure: "the server is a standby, which takes no writes" };
      }
      if (row?.writable !== true) return { ...named, failure: "the role may not write to schema postern" };
      return named;
    } finally {
      await store.close();
    }
  } catch (thrown) {
    return { ...named, failure: causeOf(thrown) };
  }
}
