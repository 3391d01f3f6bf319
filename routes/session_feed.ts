import { Buffer } from "node:buffer";
import type { Direction, SessionEnd, StreamEvent } from "../session/stream_event.ts";

/**
 * What a running session tells those who watch it. Each has an `id` that sorts as they came, and a time; `data` is base64, and
 * absent where the content is not for watchers.
 */
export type FeedEvent =
  & { id: string; at: Date }
  & (
    | { type: "opened"; stream: number; name: string }
    | { type: "data"; stream: number; name: string; direction: Direction; bytes: number; data?: string }
    | { type: "half_closed"; stream: number; name: string; direction: Direction }
    | { type: "reset"; stream: number; name: string; direction: Direction; status: number }
    | ({ type: "ended" } & FeedEnd)
  );

/** How a session ended, as its client was told. */
export type FeedEnd = Pick<SessionEnd, "reason" | "by" | "message" | "exitCode">;

/** Which content is for watchers. */
export type Shown = (stream: string, direction: Direction) => boolean;

/** Bounds of one session's feed. */
export interface FeedLimits {
  /** How much is kept for a watcher who comes back, in bytes. @default 262144 */
  keptBytes?: number;
  /** How long it is kept when the last one has gone, in milliseconds. @default 30000 */
  keptMs?: number;
  /** How much may wait for one watcher, in bytes, before it is given up. @default 1048576 */
  pendingBytes?: number;
}

/** Largest piece of a stream in one event, in bytes. */
const MAX_DATA_BYTES = 48 * 1024;

/** What an event counts beside its data, in bytes. */
const OVERHEAD_BYTES = 256;

/** A stream that is open. */
interface OpenStream {
  name: string;
  closed: Set<Direction>;
}

/**
 * What passes in one session, for those who watch it now. Costs nothing while nobody does, and never holds the session up: a
 * watcher who is too slow is given up.
 */
export class SessionFeed {
  readonly #isShown: Shown;
  readonly #limits: Required<FeedLimits>;
  readonly #streams = new Map<number, OpenStream>();
  readonly #watchers = new Set<Watcher>();
  readonly #now: () => number;
  /** The last events, while somebody watches and a while after. */
  #kept: FeedEvent[] = [];
  #keptBytes = 0;
  /** Counts the times that it was begun to keep events: between them some are missing. */
  #era = 0;
  #last = 0;
  #isKeeping = false;
  #forget: ReturnType<typeof setTimeout> | undefined;
  #isOver = false;

  constructor(isShown: Shown, limits: FeedLimits = {}, now: () => number = Date.now) {
    this.#isShown = isShown;
    this.#limits = { keptBytes: 262_144, keptMs: 30_000, pendingBytes: 1_048_576, ...limits };
    this.#now = now;
  }

  /** How many watch. */
  get watchers(): number {
    return this.#watchers.size;
  }

  /** Streams that are open, by their numbers in the session. */
  get streams(): { stream: number; name: string }[] {
    return [...this.#streams].map(([stream, { name }]) => ({ stream, name }));
  }

  /** Takes an event of the session. Never throws and never waits. */
  push(event: StreamEvent): void {
    if (event.type === "data") {
      if (this.#isKeeping) this.#data(event);
      return;
    }
    if (event.type === "opened") {
      this.#streams.set(event.id, { name: event.stream, closed: new Set() });
      if (this.#isKeeping) this.#tell({ type: "opened", stream: event.id, name: event.stream });
      return;
    }
    const { type, id: stream, stream: name, direction } = event;
    const open = this.#streams.get(stream);
    open?.closed.add(direction);
    if (type === "reset" || open?.closed.size === 2) this.#streams.delete(stream);
    if (!this.#isKeeping) return;
    if (type === "reset") this.#tell({ type, stream, name, direction, status: event.status });
    else this.#tell({ type, stream, name, direction });
  }

  /** Tells the end, after which there is nothing. */
  end({ reason, by, message, exitCode }: FeedEnd): void {
    if (this.#isKeeping) {
      this.#tell({ type: "ended", reason, by, message, ...(exitCode !== undefined && { exitCode }) });
    }
    this.#isOver = true;
    for (const watcher of this.#watchers) watcher.finish();
    this.#watchers.clear();
    this.#stopKeeping();
  }

  /**
   * Watches from now on, or from behind an event that the watcher has seen.
   *
   * @param after the `id` of that event
   */
  watch(after?: string): Watcher {
    if (!this.#isKeeping) {
      this.#isKeeping = !this.#isOver;
      this.#era++;
      this.#last = 0;
    }
    clearTimeout(this.#forget);
    const missed = after === undefined ? [] : this.#behind(after);
    const watcher = new Watcher({
      streams: this.streams,
      hasGap: missed === undefined,
      maxPendingBytes: this.#limits.pendingBytes,
      onClose: () => this.#leave(watcher),
    });
    for (const event of missed ?? []) watcher.push(event, sizeOf(event));
    if (this.#isOver) watcher.finish();
    else this.#watchers.add(watcher);
    return watcher;
  }

  /** What came behind an event; `undefined` where that is not known any more. */
  #behind(id: string): FeedEvent[] | undefined {
    const [era, number] = id.split(".").map(Number);
    if (era !== this.#era || number === undefined || !Number.isInteger(number)) return undefined;
    const oldest = this.#last - this.#kept.length;
    return number < oldest || number > this.#last ? undefined : this.#kept.slice(number - oldest);
  }

  #leave(watcher: Watcher): void {
    this.#watchers.delete(watcher);
    if (this.#watchers.size > 0 || !this.#isKeeping) return;
    clearTimeout(this.#forget);
    this.#forget = setTimeout(() => this.#stopKeeping(), this.#limits.keptMs);
  }

  #stopKeeping(): void {
    clearTimeout(this.#forget);
    this.#isKeeping = false;
    this.#kept = [];
    this.#keptBytes = 0;
  }

  #data({ id, stream: name, direction, bytes }: StreamEvent & { type: "data" }): void {
    const about = { type: "data", stream: id, name, direction } as const;
    if (!this.#isShown(name, direction)) return this.#tell({ ...about, bytes: bytes.length });
    for (let at = 0; at < bytes.length; at += MAX_DATA_BYTES) {
      const piece = bytes.subarray(at, at + MAX_DATA_BYTES);
      const { buffer, byteOffset, length } = piece;
      const data = Buffer.from(buffer, byteOffset, length).toString("base64");
      this.#tell({ ...about, bytes: length, data });
    }
  }

  #tell(told: Told): void {
    const event: FeedEvent = { id: `${this.#era}.${++this.#last}`, at: new Date(this.#now()), ...told };
    const bytes = sizeOf(event);
    for (const watcher of this.#watchers) watcher.push(event, bytes);
    this.#kept.push(event);
    this.#keptBytes += bytes;
    while (this.#keptBytes > this.#limits.keptBytes) {
      const dropped = this.#kept.shift();
      if (dropped === undefined) break;
      this.#keptBytes -= sizeOf(dropped);
    }
  }
}

/** An event without what is the same for all. */
type Told = FeedEvent extends infer Each ? Each extends FeedEvent ? Omit<Each, "id" | "at"> : never : never;

function sizeOf(event: FeedEvent): number {
  return OVERHEAD_BYTES + (event.type === "data" ? event.data?.length ?? 0 : 0);
}

/** One who watches a session. */
export class Watcher {
  /** Streams that were open when the watching began. */
  readonly streams: readonly { stream: number; name: string }[];
  /** What came between the event that it had seen and now is not known any more. */
  readonly hasGap: boolean;
  readonly #maxPendingBytes: number;
  readonly #onClose: () => void;
  #pending: { event: FeedEvent; bytes: number }[] = [];
  #pendingBytes = 0;
  #isOver = false;
  #isTooSlow = false;
  #wake: (() => void) | undefined;

  constructor({ streams, hasGap, maxPendingBytes, onClose }: {
    streams: readonly { stream: number; name: string }[];
    hasGap: boolean;
    maxPendingBytes: number;
    onClose: () => void;
  }) {
    this.streams = streams;
    this.hasGap = hasGap;
    this.#maxPendingBytes = maxPendingBytes;
    this.#onClose = onClose;
  }

  /** It was given up, because it did not take what came. */
  get isTooSlow(): boolean {
    return this.#isTooSlow;
  }

  /** Events that came, as soon as there are any; empty when no more will. To be asked again only when it has answered. */
  async next(): Promise<FeedEvent[]> {
    if (this.#pending.length === 0 && !this.#isOver) {
      await new Promise<void>((resolve) => this.#wake = resolve);
    }
    const events = this.#pending.map(({ event }) => event);
    this.#pending = [];
    this.#pendingBytes = 0;
    return events;
  }

  push(event: FeedEvent, bytes: number): void {
    if (this.#isOver) return;
    if (this.#pendingBytes + bytes > this.#maxPendingBytes) {
      this.#isTooSlow = true;
      this.#pending = [];
      this.close();
      return;
    }
    this.#pending.push({ event, bytes });
    this.#pendingBytes += bytes;
    this.#woken();
  }

  /** Nothing more will come; what waits is still given. */
  finish(): void {
    this.#isOver = true;
    this.#woken();
  }

  /** Watches no more. */
  close(): void {
    this.finish();
    this.#onClose();
  }

  #woken(): void {
    const wake = this.#wake;
    this.#wake = undefined;
    wake?.();
  }
}
