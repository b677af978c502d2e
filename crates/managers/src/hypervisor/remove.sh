# shellcheck shell=dash
set -u
rm -rf /var/lib/phoenix/certificates /etc/phoenix/certificates /etc/phoenix/certificates.d || exit 1
echo phoenix: removed certificates
