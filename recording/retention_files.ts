import { lostMarkOf } from "./lost_recordings.ts";
import { RECORDING_SUFFIX, type RecordingStore } from "./store.ts";

/**
 * The paths of a recording, where it is there, and of what lies beside it: its hold, releases of former ones, and the mark that
 * the end of its session was written by another gateway.
 */
export async function filesOf(store: RecordingStore, recording: string): Promise<string[]> {
  const mark = lostMarkOf(recording);
  const files: string[] = [];
  for await (const { path } of store.list(recording.slice(0, -RECORDING_SUFFIX.length))) {
    if (path === recording || path === mark || path.startsWith(`${recording}.`)) files.push(path);
  }
  return files;
}
