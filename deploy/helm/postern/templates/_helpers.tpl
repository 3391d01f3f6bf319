{{- define "postern.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 52 | trimSuffix "-" -}}
{{- end -}}

{{/* No longer than 52 characters: names of other objects begin with it. */}}
{{- define "postern.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 52 | trimSuffix "-" -}}
{{- else if contains (include "postern.name" .) .Release.Name -}}
{{- .Release.Name | trunc 52 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name (include "postern.name" .) | trunc 52 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{/* What belongs to the cluster is named for its namespace too, as there may be several gateways: append `:gateway`, say. */}}
{{- define "postern.clusterName" -}}
{{- printf "%s:%s" (include "postern.fullname" .) .Release.Namespace -}}
{{- end -}}

{{- define "postern.selectorLabels" -}}
app.kubernetes.io/name: {{ include "postern.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: gateway
{{- end -}}

{{- define "postern.labels" -}}
app.kubernetes.io/name: {{ include "postern.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- with .Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{- define "postern.image" -}}
{{- $image := .Values.image -}}
{{- if $image.digest -}}
{{- printf "%s@%s" $image.repository $image.digest -}}
{{- else -}}
{{- printf "%s:%s" $image.repository (default .Chart.AppVersion $image.tag) -}}
{{- end -}}
{{- end -}}

{{- define "postern.serviceAccountName" -}}
{{- if .Values.serviceAccount.create -}}
{{- default (include "postern.fullname" .) .Values.serviceAccount.name -}}
{{- else -}}
{{- required "serviceAccount.name is needed where none is created: what the gateway may do, the namespace's default account must not" .Values.serviceAccount.name -}}
{{- end -}}
{{- end -}}

{{- define "postern.port" -}}
{{- dig "server" "port" 8443 .Values.config | int -}}
{{- end -}}

{{- define "postern.adminPort" -}}
{{- dig "admin" "port" 9464 .Values.config | int -}}
{{- end -}}

{{- define "postern.drainSeconds" -}}
{{- dig "server" "drainTimeoutSeconds" 25 .Values.config | int -}}
{{- end -}}

{{- define "postern.mode" -}}
{{- dig "upstream" "mode" "kubelet" .Values.config -}}
{{- end -}}

{{/* The file that the gateway reads. */}}
{{- define "postern.configuration" -}}
apiVersion: postern.dev/v1alpha1
kind: GatewayConfiguration
{{ toYaml .Values.config }}
{{- end -}}

{{/* The Secret that clients' TLS is ended with. */}}
{{- define "postern.tlsSecret" -}}
{{- if eq .Values.tls.source "secret" -}}
{{- required "tls.secretName is needed where tls.source is secret" .Values.tls.secretName -}}
{{- else -}}
{{- default (printf "%s-tls" (include "postern.fullname" .)) .Values.tls.secretName -}}
{{- end -}}
{{- end -}}

{{- define "postern.recordingKeySecret" -}}
{{- default (printf "%s-recording" (include "postern.fullname" .)) .Values.recordingKey.secretName -}}
{{- end -}}

{{/* By what the gateway is called, as a JSON list; the first is what kubeconfigs say. */}}
{{- define "postern.dnsNames" -}}
{{- $service := include "postern.fullname" . -}}
{{- $within := list (printf "%s.%s.svc" $service .Release.Namespace) (printf "%s.%s.svc.cluster.local" $service .Release.Namespace) (printf "%s.%s" $service .Release.Namespace) $service -}}
{{- $outside := .Values.tls.dnsNames -}}
{{- if .Values.ingress.enabled -}}{{- $outside = append $outside .Values.ingress.host -}}{{- end -}}
{{- if .Values.tlsRoute.enabled -}}{{- $outside = concat $outside .Values.tlsRoute.hostnames -}}{{- end -}}
{{- if and .Values.openshift.route.enabled .Values.openshift.route.host -}}{{- $outside = append $outside .Values.openshift.route.host -}}{{- end -}}
{{- concat $within $outside | uniq | toJson -}}
{{- end -}}

{{- define "postern.ipAddresses" -}}
{{- $addresses := .Values.tls.ipAddresses -}}
{{- if and .Values.service.clusterIP (ne .Values.service.clusterIP "None") -}}{{- $addresses = append $addresses .Values.service.clusterIP -}}{{- end -}}
{{- $addresses | uniq | toJson -}}
{{- end -}}

{{- define "postern.sinkType" -}}
{{- dig "recording" "sink" "type" "folder" .Values.config -}}
{{- end -}}

{{/* Whether several gateways may run at once; "" where not. */}}
{{- define "postern.isReplicated" -}}
{{- if or .Values.autoscaling.enabled (gt (int .Values.replicaCount) 1) -}}true{{- end -}}
{{- end -}}

{{/* Refuses what could be rendered and would not work. */}}
{{- define "postern.validate" -}}
{{- if ne (dig "admin" "listener" "off" .Values.config) "on" -}}
{{- fail "config.admin.listener must be on: the probes come to it" -}}
{{- end -}}
{{- if has (dig "admin" "address" "127.0.0.1" .Values.config) (list "127.0.0.1" "::1") -}}
{{- fail "config.admin.address must not be a loopback address: the probes come from outside the pod" -}}
{{- end -}}
{{- if or (eq (include "postern.port" .) "0") (eq (include "postern.adminPort" .) "0") -}}
{{- fail "config.server.port and config.admin.port must not be 0: the Service must know them" -}}
{{- end -}}
{{- if eq (include "postern.port" .) (include "postern.adminPort" .) -}}
{{- fail "config.server.port and config.admin.port must not be the same" -}}
{{- end -}}
{{- if lt (int (include "postern.port" .)) 1024 -}}
{{- fail "config.server.port must be 1024 or more: the gateway has no capability to listen below" -}}
{{- end -}}
{{- if dig "kubernetes" "kubeconfig" "" .Values.config -}}
{{- fail "config.kubernetes.kubeconfig is not for gateways in a cluster: they use their service account" -}}
{{- end -}}
{{- if and (eq (include "postern.mode" .) "apiserver") (eq (dig "upstream" "apiserver" "identity" "user" .Values.config) "user") (dig "authorization" "group" "" .Values.config) -}}
{{- fail "config.authorization.group must be left out where config.upstream.apiserver.identity is user: the API server would refuse every session" -}}
{{- end -}}
{{- if include "postern.isReplicated" . -}}
{{- if eq (dig "index" "type" "none" .Values.config) "sqlite" -}}
{{- fail "config.index.type sqlite is for a gateway that runs alone: set replicaCount to 1, or use postgresql" -}}
{{- end -}}
{{- if dig "recording" "instance" "" .Values.config -}}
{{- fail "config.recording.instance must be left out where several gateways run: each is named for its pod" -}}
{{- end -}}
{{- if and (eq .Values.evidence.volume.type "claim") (not (has "ReadWriteMany" .Values.evidence.volume.accessModes)) -}}
{{- fail "evidence.volume.accessModes must have ReadWriteMany where several gateways run: they share the volume. Use S3 (config.recording.sink) and an emptyDir, or replicaCount 1, where there is no such storage" -}}
{{- end -}}
{{- end -}}
{{- if and (eq (include "postern.sinkType" .) "s3") (not .Values.evidence.s3.secretName) (not .Values.files) -}}
{{- fail "evidence.s3.secretName is needed where config.recording.sink.type is s3" -}}
{{- end -}}
{{- end -}}
