{{- define "sluice.image" -}}
{{ .Values.image.repository }}:{{ .Values.image.tag }}
{{- end }}

{{/* Labels of every object; the argument is the root context. */}}
{{- define "sluice.labels" -}}
app.kubernetes.io/name: sluice
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end }}

{{- define "sluice.podSecurity" -}}
securityContext:
  runAsNonRoot: true
  runAsUser: 65534
  runAsGroup: 65534
  seccompProfile: {type: RuntimeDefault}
{{- end }}

{{- define "sluice.containerSecurity" -}}
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities: {drop: [ALL]}
{{- end }}

{{- define "sluice.placement" -}}
{{- with .nodeSelector }}
nodeSelector: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .tolerations }}
tolerations: {{- toYaml . | nindent 0 }}
{{- end }}
{{- end }}

{{- define "sluice.pullSecrets" -}}
{{- with .Values.image.imagePullSecrets }}
imagePullSecrets: {{- toYaml . | nindent 0 }}
{{- end }}
{{- end }}

{{/* Probes of a program that serves /healthz and /readyz on its port "metrics". */}}
{{- define "sluice.probes" -}}
startupProbe:
  httpGet: {path: /healthz, port: metrics}
  periodSeconds: 1
  failureThreshold: 60
livenessProbe:
  httpGet: {path: /healthz, port: metrics}
  periodSeconds: 10
  timeoutSeconds: 5
  failureThreshold: 6
readinessProbe:
  httpGet: {path: /readyz, port: metrics}
  periodSeconds: 2
  timeoutSeconds: 2
{{- end }}

{{/* Two replicas keep to different nodes while there is a choice. */}}
{{- define "sluice.spread" -}}
affinity:
  podAntiAffinity:
    preferredDuringSchedulingIgnoredDuringExecution:
    - weight: 100
      podAffinityTerm:
        topologyKey: kubernetes.io/hostname
        labelSelector: {matchLabels: {control-plane: {{ . }}}}
{{- end }}

{{/* The plugin profile of the values as text. */}}
{{- define "sluice.pluginsProfile" -}}
{{- $profile := .Values.webhook.pluginsProfile }}
{{- if kindIs "string" $profile }}{{ $profile }}{{ else }}{{ toYaml $profile }}{{ end }}
{{- end }}

{{- define "sluice.nativeSidecars" -}}
{{- if semverCompare ">=1.29-0" .Capabilities.KubeVersion.Version }}yes{{ end }}
{{- end }}

{{/* What the webhook injects: the value given, or what the cluster can do. */}}
{{- define "sluice.injectionMode" -}}
{{- $mode := .Values.webhook.fuseSidecar.sidecarInjectionMode }}
{{- if and (eq $mode "native-sidecar") (semverCompare "<1.28-0" .Capabilities.KubeVersion.Version) }}
{{- fail "webhook.fuseSidecar.sidecarInjectionMode: native-sidecar needs Kubernetes 1.28 or newer; use legacy" }}
{{- end }}
{{- if $mode }}{{ $mode }}{{ else if include "sluice.nativeSidecars" . }}native-sidecar{{ else }}legacy{{ end }}
{{- end }}

{{/* Whether there are ordinary sidecars, which somebody must end: those that are injected, or, with "always",
     those that pods have from before. */}}
{{- define "sluice.endsSidecars" -}}
{{- $enabled := toString .Values.fluidapp.enabled }}
{{- if eq $enabled "always" }}yes
{{- else if and (has $enabled (list "auto" "true")) .Values.webhook.enabled (ne (include "sluice.injectionMode" .) "native-sidecar") }}yes
{{- end }}
{{- end }}
