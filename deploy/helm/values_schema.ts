import { z } from "zod";
import { gatewayConfiguration } from "../../config/gateway_configuration.ts";

/**
 * What the chart's values may be. values.yaml has the defaults and says what they mean; here stands what Helm refuses, so
 * that a misspelled key is no silent nothing. The gateway's configuration is held to its own schema.
 */

const count = (from: number, to: number) => z.int().min(from).max(to);
/** Lower case labels with hyphens: what most objects may be called. */
const name = () => z.string().max(253).regex(/^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$/);
const nameOrEmpty = () => z.union([z.literal(""), name()]);
const hostname = () => z.string().max(253).regex(/^(\*\.)?[a-z0-9]([-a-z0-9.]*[a-z0-9])?$/);
/** An IPv4 or IPv6 range. */
const range = () => z.string().regex(/^[0-9a-fA-F:.]+\/[0-9]{1,3}$/);
/** `2160h`: a duration as Go and Prometheus write it. */
const duration = () => z.string().regex(/^([0-9]+(ms|h|m|s))+$/);
/** `20Gi` */
const quantity = () => z.string().regex(/^[0-9]+(\.[0-9]+)?(k|M|G|T|P|E|Ki|Mi|Gi|Ti|Pi|Ei)?$/);
const labels = () => z.record(z.string(), z.string());
/** A part of a pod's or a policy's own specification: the API server knows what it may be. */
const verbatim = () => z.record(z.string(), z.unknown());
/** Every key may be left out, for values.yaml has it; none may be there that is unknown. */
const section = <Shape extends z.ZodRawShape>(shape: Shape) => z.strictObject(shape).partial();

/** A path below /etc/postern that leads nowhere else. Helm reads patterns as Go does: without looking ahead. */
const ownPath = () => z.string().max(253).regex(/^[A-Za-z0-9_-]+([./][A-Za-z0-9_-]+)*$/);
const projected = { key: z.string().regex(/^[-._a-zA-Z0-9]+$/), path: ownPath() };

/** The chart's values, as far as they were given. */
export const chartValues = section({
  /** What Helm hands on to charts within charts. */
  global: verbatim(),
  replicaCount: count(1, 100),
  image: section({
    repository: z.string().min(1),
    tag: z.string(),
    digest: z.union([z.literal(""), z.string().regex(/^sha256:[0-9a-f]{64}$/)]),
    pullPolicy: z.enum(["Always", "IfNotPresent", "Never"]),
  }),
  imagePullSecrets: z.array(section({ name: name() })),
  nameOverride: nameOrEmpty(),
  fullnameOverride: nameOrEmpty(),
  commonLabels: labels(),
  podLabels: labels(),
  podAnnotations: labels(),
  config: gatewayConfiguration.omit({ apiVersion: true, kind: true }),
  files: z.array(z.union([
    z.strictObject({ secret: name(), ...projected }),
    z.strictObject({ configMap: name(), ...projected }),
  ])),
  tls: section({
    source: z.enum(["generated", "secret", "certManager"]),
    secretName: nameOrEmpty(),
    dnsNames: z.array(hostname()),
    ipAddresses: z.array(z.string().regex(/^[0-9a-fA-F:.]+$/)),
    generated: section({ authorityDays: count(1, 36500), certificateDays: count(1, 3650) }),
    certManager: section({
      issuerRef: section({ name: nameOrEmpty(), kind: z.string().min(1), group: z.string().min(1) }),
      duration: duration(),
      renewBefore: duration(),
    }),
  }),
  recordingKey: section({ secretName: nameOrEmpty() }),
  evidence: section({
    volume: section({
      type: z.enum(["claim", "existingClaim", "emptyDir"]),
      claimName: nameOrEmpty(),
      accessModes: z.array(z.enum(["ReadWriteMany", "ReadWriteOnce", "ReadWriteOncePod"])).min(1),
      storageClassName: nameOrEmpty(),
      size: quantity(),
      keep: z.boolean(),
    }),
    s3: section({ secretName: nameOrEmpty() }),
  }),
  serviceAccount: section({ create: z.boolean(), name: nameOrEmpty(), annotations: labels() }),
  rbac: section({ create: z.boolean(), userRoles: z.boolean() }),
  service: section({
    type: z.enum(["ClusterIP", "NodePort", "LoadBalancer"]),
    port: count(1, 65535),
    clusterIP: z.string().regex(/^[0-9a-fA-F:.]*$/),
    nodePort: count(0, 65535),
    loadBalancerClass: z.string(),
    loadBalancerSourceRanges: z.array(range()),
    externalTrafficPolicy: z.enum(["", "Cluster", "Local"]),
    annotations: labels(),
  }),
  ingress: section({
    enabled: z.boolean(),
    className: z.string(),
    host: z.union([z.literal(""), hostname()]),
    annotations: labels(),
  }),
  tlsRoute: section({
    enabled: z.boolean(),
    apiVersion: z.string().regex(/^gateway\.networking\.k8s\.io\/v1(alpha[0-9]+|beta[0-9]+)?$/),
    hostnames: z.array(hostname()),
    parentRefs: z.array(verbatim()),
    annotations: labels(),
  }),
  openshift: section({
    enabled: z.boolean(),
    route: section({
      enabled: z.boolean(),
      host: z.union([z.literal(""), hostname()]),
      annotations: labels(),
    }),
  }),
  resources: verbatim(),
  autoscaling: section({
    enabled: z.boolean(),
    minReplicas: count(1, 100),
    maxReplicas: count(1, 100),
    metric: z.string().min(1),
    sessionsPerReplica: count(1, 1000000),
    scaleDownSeconds: count(1, 1800),
  }),
  podDisruptionBudget: section({
    enabled: z.boolean(),
    maxUnavailable: z.union([count(0, 100), z.string().regex(/^[0-9]{1,2}%$/)]),
  }),
  topologySpreadConstraints: z.array(verbatim()),
  nodeSelector: labels(),
  tolerations: z.array(verbatim()),
  affinity: verbatim(),
  priorityClassName: nameOrEmpty(),
  networkPolicy: section({
    enabled: z.boolean(),
    clients: z.array(verbatim()),
    metrics: z.array(verbatim()),
    apiServer: section({ cidrs: z.array(range()), ports: z.array(count(1, 65535)).min(1) }),
    kubelets: section({ cidrs: z.array(range()), port: count(1, 65535) }),
    dns: z.boolean(),
    egress: z.array(verbatim()),
  }),
  metrics: section({
    service: section({ enabled: z.boolean(), annotations: labels() }),
    serviceMonitor: section({ enabled: z.boolean(), interval: duration(), labels: labels() }),
    prometheusRule: section({ enabled: z.boolean(), labels: labels() }),
    dashboard: section({ enabled: z.boolean(), labels: labels(), annotations: labels() }),
  }),
  probes: section({ livenessFailures: count(1, 100), startupSeconds: count(1, 3600) }),
});

/** Where Helm looks for it. */
export const VALUES_SCHEMA = new URL("postern/values.schema.json", import.meta.url);

/** The JSON Schema that Helm holds values to, and editors too. */
export function valuesSchema(): string {
  const schema = z.toJSONSchema(chartValues, { io: "input" });
  return `${JSON.stringify(schema, null, 2)}\n`;
}

if (import.meta.main) await Deno.writeTextFile(VALUES_SCHEMA, valuesSchema());
