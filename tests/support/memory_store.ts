import type { RecordingFile } from "../../recording/recorder.ts";
import { type RecordingStore, type StoredRecording, StoreError } from "../../recording/store.ts";

/** A store in memory that can be told to fail. */
export class MemoryStore implements RecordingStore {
  readonly files = new Map<string, Uint8Array[]>();
  readonly modified = new Map<string, Date>();
  /** Which files take nothing. */
  failing: (path: string) => boolean = () => false;

  create(path: string): Promise<RecordingFile> {
    if (this.files.has(path)) return Promise.reject(new StoreError("exists", `there is ${path} already`));
    const parts: Uint8Array[] = [];
    this.modified.set(path, new Date());
    this.files.set(path, parts);
    return Promise.resolve({
      append: (bytes) => {
        if (this.failing(path)) return Promise.reject(new Error("no space left on device"));
        parts.push(bytes.slice());
        return Promise.resolve();
      },
      close: () => Promise.resolve(),
    });
  }

  open(path: string): Promise<ReadableStream<Uint8Array>> {
    const parts = this.files.get(path);
    if (parts === undefined) return Promise.reject(new StoreError("not_found", `there is no ${path}`));
    return Promise.resolve(ReadableStream.from(parts));
  }

  async *list(prefix: string): AsyncGenerator<StoredRecording> {
    for (const path of this.files.keys()) {
      if (path.startsWith(prefix)) {
        yield { path, bytes: this.bytes(path).length, modifiedAt: this.modified.get(path) ?? new Date() };
      }
    }
  }

  remove(path: string): Promise<void> {
    this.files.delete(path);
    return Promise.resolve();
  }

  bytes(path: string): Uint8Array {
    return new Uint8Array((this.files.get(path) ?? []).flatMap((part) => [...part]));
  }
}
