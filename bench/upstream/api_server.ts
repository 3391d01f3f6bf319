/** The one pod there is. */
export const POD = {
  namespace: "bench",
  name: "worker",
  uid: "0a0b0c0d-0000-4000-8000-000000000000",
} as const;

/** Its one container. */
export const CONTAINER = "main";

const NODE = "node-1";

/**
 * The few answers of an API server that a session needs: who the caller is, that he may, and where the pod runs. Always
 * the same, at once: not what is measured.
 */
export function answerAsApiServer(request: Request, kubeletPort: number): Response {
  const { pathname } = new URL(request.url);
  switch (`${request.method} ${pathname}`) {
    case "POST /apis/authentication.k8s.io/v1/tokenreviews":
      return Response.json({
        apiVersion: "authentication.k8s.io/v1",
        kind: "TokenReview",
        metadata: {},
        status: {
          authenticated: true,
          user: { username: "alice", uid: "1", groups: ["developers", "system:authenticated"] },
        },
      }, { status: 201 });
    case "POST /apis/authorization.k8s.io/v1/subjectaccessreviews":
      return Response.json({
        apiVersion: "authorization.k8s.io/v1",
        kind: "SubjectAccessReview",
        metadata: {},
        spec: {},
        status: { allowed: true },
      }, { status: 201 });
    case `GET /api/v1/namespaces/${POD.namespace}/pods/${POD.name}`:
      return Response.json({
        apiVersion: "v1",
        kind: "Pod",
        metadata: { namespace: POD.namespace, name: POD.name, uid: POD.uid },
        spec: { nodeName: NODE, containers: [{ name: CONTAINER, image: "bench/worker:1" }] },
        status: { phase: "Running" },
      });
    case `GET /api/v1/nodes/${NODE}`:
      return Response.json({
        apiVersion: "v1",
        kind: "Node",
        metadata: { name: NODE, uid: "2" },
        status: {
          addresses: [{ type: "InternalIP", address: "127.0.0.1" }],
          daemonEndpoints: { kubeletEndpoint: { Port: kubeletPort } },
        },
      });
    default:
      return Response.json({
        apiVersion: "v1",
        kind: "Status",
        metadata: {},
        status: "Failure",
        reason: "NotFound",
        message: `the benchmark's API server does not know ${request.method} ${pathname}`,
        code: 404,
      }, { status: 404 });
  }
}
