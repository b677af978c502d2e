# shellcheck shell=dash disable=SC2154 # root and mark are told in front of it
set -u
PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
export PATH
units='phoenix-certificates.timer phoenix-certificates.service phoenix-pveproxy.service'
# shellcheck disable=SC2086 # a word each
systemctl disable --now $units >/dev/null 2>&1
if [ -e /usr/local/lib/phoenix/pveproxy ]; then /usr/local/lib/phoenix/pveproxy forget >/dev/null || exit 1; fi
for unit in $units; do rm -f "/etc/systemd/system/$unit" || exit 1; done
systemctl daemon-reload
rm -f "$root" && update-ca-certificates >/dev/null 2>&1
for program in certificates pairs pveproxy; do rm -f "/usr/local/lib/phoenix/$program" || exit 1; done
rm -rf /var/lib/phoenix/certificates /etc/phoenix/certificates /etc/phoenix/certificates.d || exit 1
rm -rf /var/lib/phoenix/made /var/lib/phoenix/kept || exit 1
rm -f /etc/phoenix/certificates.conf /etc/phoenix/applied.json "$mark" || exit 1
echo phoenix: removed certificates
