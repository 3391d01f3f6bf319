import { writeVector } from "./vectors.ts";
import type { Watched } from "./watchdog.ts";

addEventListener("message", (event) => {
  if (!(event instanceof MessageEvent)) return;
  const data: Watched = event.data;
  const numbers = new Int32Array(data.memory, 0, 2);
  let last = -1;
  setInterval(async () => {
    const count = Atomics.load(numbers, 0);
    if (count !== last || count === 0) return void (last = count);
    const input = new Uint8Array(data.memory, 8, Atomics.load(numbers, 1)).slice();
    const path = await writeVector("hangs", input);
    await Deno.stderr.write(new TextEncoder().encode(`\nan input ran for ${data.hangMs} ms: ${path}\n`));
    Deno.kill(Deno.pid, "SIGKILL");
  }, data.hangMs);
});
