# shellcheck shell=dash disable=SC2034,SC2154 # it stands behind catalog/certificates/pairs
LC_ALL=C
PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
export LC_ALL PATH
text() { printf '%s' "$1" | tr -d '"\\\000-\037'; }
show() {
	if look "$store/$1"; then
		printf '{"name":"%s","by":"%s","serial":"%s","not_before":%s,"not_after":%s,"served":[' "$1" "$(text "$by")" "$serial" "$begin" "$end"
	else
		serial=none
		printf '{"name":"%s","served":[' "$1"
	fi
	comma=
	for at in $2; do
		found=$(shown "$at")
		if [ -z "$found" ]; then found='null,"same":null'; elif [ "$found" = "$serial" ]; then found="\"$found\",\"same\":true"; else found="\"$found\",\"same\":false"; fi
		printf '%s{"at":"%s","serial":%s}' "$comma" "$at" "$found"
		comma=,
	done
	printf ']}\n'
}
