{{- /* A certificate of somebody who has a list of names: one that is not in it is refused (P-70). Whoever
   only answered for a name is certified to serve, and as nobody's client. */ -}}
{{- $names := .names -}}
{{- $who := .who -}}
{{- range .SANs -}}{{- if not (and (eq .Type "dns") (has .Value $names)) -}}
{{ fail (printf "%s is not a name of %s" .Value $who) }}
{{- end -}}{{- end -}}
{
  "subject": {"commonName": {{ toJson (first .SANs).Value }}},
  "sans": {{ toJson .SANs }},
  "keyUsage": ["digitalSignature"],
  "extKeyUsage": ["serverAuth"{{ if not .server }}, "clientAuth"{{ end }}]
}
