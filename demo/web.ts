/** What the container `web` of the demo runs: an HTTP server that says hello, and writes down who asked. */
Deno.serve({
  hostname: "127.0.0.1",
  port: 0,
  onListen: ({ port }) => write(`listening on port ${port}`),
}, (request) => {
  write(`${request.method} ${new URL(request.url).pathname}`);
  return new Response("hello from the pod web\n");
});

function write(line: string): void {
  Deno.stdout.writeSync(new TextEncoder().encode(`${line}\n`));
}
