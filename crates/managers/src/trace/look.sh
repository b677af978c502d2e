# What a guest says about itself; nothing in it is changed. Arguments: the units of its features (with `.service`), the
# names of its certificates, each a list with spaces. Every part has its own limit.
set -u
LC_ALL=C
export LC_ALL
units=$1 certificates=$2

part() { printf '\036%s\n' "$1"; }
# run SECONDS COMMAND...: bounded, with errors where the output goes.
run() { timeout "$@" 2>&1 | tr -d '\036' | head -c 60000; }

part clock
date +%s.%N
part uptime
cat /proc/uptime
part system
run 3 systemctl is-system-running
part disk
run 3 df -Pk /
part inodes
run 3 df -Pi /
part memory
sed -n 's/^\(MemTotal\|MemAvailable\): *\([0-9]*\) kB$/\1 \2/p' /proc/meminfo
part hosts
tr -d '\036' </etc/hosts
part resolvers
sed -n 's/^nameserver[[:space:]]*//p' /etc/resolv.conf

part links
run 3 ip -o link show
part addresses
run 3 ip -o -4 address show

part listeners
listeners=$(run 3 ss -Hltnp)
printf '%s\n' "$listeners"
part owners
for pid in $(printf '%s\n' "$listeners" | grep -o 'pid=[0-9]*' | sort -u); do
	printf '%s %s\n' "${pid#pid=}" "$(sed -n 's#.*/\([^/]*\.service\)$#\1#p' "/proc/${pid#pid=}/cgroup" 2>/dev/null | head -n 1)"
done

for name in $certificates; do
	part "certificate $name"
	folder=/etc/phoenix/certificates/$name
	[ -e "$folder/fullchain.pem" ] || continue
	if ! [ -e "$folder/key.pem" ]; then
		echo 'key missing'
	elif command -v openssl >/dev/null; then
		public=$(openssl x509 -in "$folder/fullchain.pem" -noout -pubkey 2>/dev/null)
		if [ -n "$public" ] && [ "$public" = "$(openssl pkey -in "$folder/key.pem" -pubout 2>/dev/null)" ]; then
			echo 'key fits'
		else
			echo 'key other'
		fi
	fi
	tr -d '\036' <"$folder/fullchain.pem"
done

# Whatever chooses what is served, and puts aside what is bad.
for guard in /usr/local/lib/phoenix/*-guard; do
	[ -x "$guard" ] || continue
	part "aside ${guard##*/}"
	run 5 "$guard" --bad
done
if [ -x /usr/local/lib/phoenix/certificates ]; then
	part renewals
	timeout 6 /usr/local/lib/phoenix/certificates list 2>/dev/null | tr -d '\036'
fi
if [ -x /usr/local/lib/phoenix/updates ]; then
	part updates
	run 6 /usr/local/lib/phoenix/updates state
fi
if [ -x /usr/local/lib/phoenix/docker-stack ]; then
	part stacks
	run 8 /usr/local/lib/phoenix/docker-stack troubles
fi

part failed
failed=$(run 3 systemctl list-units --failed --type service --plain --no-legend --no-pager | sed 's/ .*//')
printf '%s\n' "$failed"
part units
shown=$(for unit in $units $failed; do printf '%s\n' "$unit"; done | sort -u)
if [ -n "$shown" ]; then
	# shellcheck disable=SC2086 # a word each
	run 3 systemctl show --timestamp=unix -p Id,LoadState,ActiveState,SubState,Result,StateChangeTimestamp,ActiveEnterTimestamp $shown
fi
for unit in $shown; do
	[ "$(timeout 3 systemctl is-active "$unit" 2>/dev/null)" = active ] && continue
	part "journal $unit"
	run 3 journalctl -q -u "$unit" -n 12 --no-pager -o cat
done

# A firewall of the guest's own.
part rules
if command -v nft >/dev/null; then run 3 nft list ruleset; elif command -v iptables-save >/dev/null; then run 3 iptables-save; fi
part end
date +%s.%N
