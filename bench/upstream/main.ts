/** A process: API server and kubelet of the benchmark. `main.ts CERT KEY` */

import { answerAsApiServer } from "./api_server.ts";
import { serveKubelet } from "./kubelet.ts";
import { announce, certificateArguments, listen } from "./listen.ts";

const files = certificateArguments();
const kubelet = await listen(files, serveKubelet);
const [cert, key] = await Promise.all([Deno.readTextFile(files.certFile), Deno.readTextFile(files.keyFile)]);
const api = Deno.serve(
  { hostname: "127.0.0.1", port: 0, cert, key, onListen: () => {} },
  (request) => answerAsApiServer(request, kubelet),
);
await announce({ kubelet, api: api.addr.port });
