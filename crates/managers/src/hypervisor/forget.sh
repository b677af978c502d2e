# shellcheck shell=dash
set -u
PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
export PATH
systemctl disable --now phoenix-certificates.timer phoenix-certificates.service phoenix-pveproxy.service >/dev/null 2>&1
if [ -e /usr/local/lib/phoenix/pveproxy ]; then /usr/local/lib/phoenix/pveproxy forget >/dev/null || exit 1; fi
echo phoenix: forgot certificates
