{{- define "headwater.name" -}}
{{- .Release.Name | trunc 40 | trimSuffix "-" -}}
{{- end }}

{{- define "headwater.selector" -}}
app.kubernetes.io/name: headwater
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .component }}
{{- end }}

{{- define "headwater.labels" -}}
{{ include "headwater.selector" . }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ .root.Chart.Name }}-{{ .root.Chart.Version }}
{{- with .part }}
headwater.io/part: {{ . }}
{{- end }}
{{- end }}

{{- define "headwater.metadata" -}}
name: {{ include "headwater.name" .root }}-{{ .suffix | default .component }}
labels:
  {{- include "headwater.labels" . | nindent 2 }}
{{- end }}

{{/* One of our images by name: a digest says which bytes, the tag says it to people. */}}
{{- define "headwater.imageName" -}}
{{ .repository }}:{{ .tag }}{{ with .digest }}@{{ . }}{{ end }}
{{- end }}

{{- define "headwater.image" -}}
image: {{ include "headwater.imageName" .image | quote }}
imagePullPolicy: {{ .root.Values.image.pullPolicy }}
{{- end }}

{{- define "headwater.pullSecrets" -}}
{{- with .Values.image.pullSecrets }}
imagePullSecrets:
  {{- range . }}
  - name: {{ . }}
  {{- end }}
{{- end }}
{{- end }}

{{/* What keeps a pod from being more than it need be. */}}
{{- define "headwater.podSecurity" -}}
enableServiceLinks: false
securityContext:
  runAsNonRoot: true
  runAsUser: {{ .user }}
  runAsGroup: {{ .user }}
  fsGroup: {{ .user }}
  fsGroupChangePolicy: OnRootMismatch
  seccompProfile: {type: RuntimeDefault}
{{- end }}

{{- define "headwater.containerSecurity" -}}
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities: {drop: [ALL]}
{{- end }}

{{/* What every platform pod knows: settings, databases, the object store. */}}
{{- define "headwater.platformEnv" -}}
envFrom:
  - configMapRef: {name: {{ include "headwater.name" . }}-settings}
  - secretRef: {name: {{ include "headwater.storesSecret" . }}}
  {{- with .Values.lake.secret }}
  - secretRef: {name: {{ . }}}
  {{- end }}
{{- end }}

{{- define "headwater.platformMounts" -}}
- {name: home, mountPath: /var/lib/headwater}
- {name: serving, mountPath: /var/lib/headwater-serving}
- {name: dagster, mountPath: /opt/dagster, readOnly: true}
- {name: tmp, mountPath: /tmp}
{{- if .Values.triton.token }}
- {name: token, mountPath: /etc/headwater, readOnly: true}
{{- end }}
{{- end }}

{{- define "headwater.platformVolumes" -}}
- {name: home, persistentVolumeClaim: {claimName: {{ include "headwater.homeClaim" . }}}}
- {name: serving, persistentVolumeClaim: {claimName: {{ include "headwater.servingClaim" . }}}}
- {name: dagster, configMap: {name: {{ include "headwater.name" . }}-dagster}}
- {name: tmp, emptyDir: {}}
{{- if .Values.triton.token }}
- {name: token, secret: {secretName: {{ include "headwater.name" . }}-serving, defaultMode: 0440}}
{{- end }}
{{- end }}

{{- define "headwater.homeClaim" -}}
{{ .Values.home.existingClaim | default (printf "%s-home" (include "headwater.name" .)) }}
{{- end }}

{{- define "headwater.servingClaim" -}}
{{ .Values.servingVolume.existingClaim | default (printf "%s-serving" (include "headwater.name" .)) }}
{{- end }}

{{- define "headwater.storesSecret" -}}
{{ .Values.postgresql.storesSecret | default (printf "%s-stores" (include "headwater.name" .)) }}
{{- end }}

{{- define "headwater.mlflowSecret" -}}
{{ .Values.postgresql.mlflowSecret | default (printf "%s-mlflow" (include "headwater.name" .)) }}
{{- end }}

{{/* A secret value that is made once and kept: [root, name of the Secret, key]. Never printed. */}}
{{- define "headwater.kept" -}}
{{- $found := lookup "v1" "Secret" .root.Release.Namespace .name -}}
{{- if and $found (hasKey $found.data .key) -}}
{{ index $found.data .key | b64dec }}
{{- else -}}
{{ randAlphaNum 40 }}
{{- end -}}
{{- end }}
