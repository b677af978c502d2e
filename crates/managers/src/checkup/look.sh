# How a node is: a line for each fact, words with tabs between them. Nothing is changed. Each question has its own limit; after
# 40 s nothing new is asked. What is being looked at is told first, so that it is known what hung. Argument: a folder in place
# of /, for tests.
set -u
LC_ALL=C
PATH=/usr/sbin:/usr/bin:/sbin:/bin
export LC_ALL PATH
root=${1-}
tab=$(printf '\t')
read -r began _ </proc/uptime
began=${began%.*}

fact() {
	IFS=$tab
	printf '%s\n' "$*"
	unset IFS
}
# at WHAT: whether there is time left for it.
at() {
	fact at "$1"
	read -r now _ </proc/uptime
	if [ $((${now%.*} - began)) -ge 40 ]; then
		fact late "$1"
		return 1
	fi
}
# run SECONDS COMMAND...
run() { timeout -k 1 "$@" 2>/dev/null </dev/null; }
here() { command -v "$1" >/dev/null 2>&1; }
have() { here "$1" || ! fact missing "$1"; }
# word FILE: its first line.
word() { head -n 1 "$root$1" 2>/dev/null; }
yes() { if "$@" >/dev/null 2>&1; then echo yes; else echo no; fi; }
# seconds DATE: since 1970.
seconds() { if [ -n "$1" ]; then date -d "$1" +%s 2>/dev/null; fi; }

name=$(uname -n)
name=${name%%.*}
kernel=$(uname -r)
within=$(run 3 systemd-detect-virt)
fact node "$(date +%s)" "$name" "$kernel" "${within:-unknown}" "$began" "$(word /etc/machine-id)"

release() { sed -n "s/^$1=//p" "$root/etc/os-release" 2>/dev/null | tr -d '"'; }
if at 'Proxmox VE'; then
	version=
	if here pveversion; then version=$(run 8 pveversion | sed -n '1s#^pve-manager/\([^/ ]*\).*#\1#p'); fi
	fact system "$(release ID)" "$(release VERSION_CODENAME)" "$(release PRETTY_NAME)" "$version"
fi

if at processor; then
	info=$root/proc/cpuinfo
	flag=$(grep -m 1 -ow -e vmx -e svm "$info" | head -n 1)
	throttled=$(cat "$root"/sys/devices/system/cpu/cpu*/thermal_throttle/core_throttle_count 2>/dev/null | awk '{ n += $1 } END { if (NR) print n }')
	fact cpu "$(sed -n 's/^vendor_id[[:space:]]*: //p' "$info" | head -n 1)" "$(grep -c ^processor "$info")" "$flag" \
		"$(yes test -e "$root/dev/kvm")" "$(awk '{ printf "%d", $3 * 100 }' "$root/proc/loadavg")" \
		"$(grep -l '^Vulnerable' "$root"/sys/devices/system/cpu/vulnerabilities/* 2>/dev/null | wc -l)" "$throttled" \
		"$(find "$root/sys/kernel/iommu_groups" -mindepth 1 -maxdepth 1 2>/dev/null | wc -l)"
	for it in "$root"/sys/devices/system/edac/mc/mc[0-9]*; do
		if [ -d "$it" ]; then fact ecc "${it##*/}" "$(cat "$it/ce_count")" "$(cat "$it/ue_count")"; fi
	done
	for it in "$root"/sys/class/hwmon/hwmon*/temp*_input; do
		degrees=$(cat "$it" 2>/dev/null) || continue
		fact sensor "$(cat "${it%/*}/name" 2>/dev/null)" "$degrees" "$(cat "${it%_input}_crit" 2>/dev/null)"
	done
fi

if at memory; then
	of() { sed -n "s/^$1: *\([0-9]*\) kB\$/\1/p" "$root/proc/meminfo"; }
	waits() { sed -n 's/^full .*avg300=\([0-9]*\)\.\([0-9]*\).*/\1\2/p' "$root/proc/pressure/$1" 2>/dev/null; }
	fact memory "$(of MemTotal)" "$(of MemAvailable)" "$(sed -n 's/^oom_kill //p' "$root/proc/vmstat")" "$(waits memory)" "$(waits io)"
	awk -v OFS='\t' 'NR > 1 { print "swap", $1, $3, $4 }' "$root/proc/swaps" 2>/dev/null
fi

if at kernel; then
	newest=$(find "$root/boot" -maxdepth 1 -name 'vmlinuz-*' 2>/dev/null | sed 's#.*/vmlinuz-##' | sort -V | tail -n 1)
	fact boot "$newest" "$(yes test -d "$root/lib/modules/$kernel")" "$(yes test -e "$root/run/reboot-required")" \
		"$(yes test -d "$root/sys/firmware/efi")" "$(yes test -s "$root/etc/kernel/proxmox-boot-uuids")"
	run 5 dmesg | awk -v OFS='\t' '
		function said(about) { n[about]++; last[about] = $0 }
		/\[Hardware Error\]|mce: .*[Mm]achine [Cc]heck.*error|EDAC .* [CU]E / { said("hardware") }
		/I\/O error, dev (sd|nvme|vd|hd|mmc)|critical medium error|Buffer I\/O error on dev (sd|nvme|vd)/ { said("disk") }
		/EXT4-fs error|EXT4-fs .*[Rr]emounting filesystem read-only|XFS .*([Cc]orruption|Shutting down)|BTRFS (error|critical)/ { said("filesystem") }
		/blocked for more than [0-9]+ seconds|soft lockup|hard LOCKUP|rcu.* self-detected stall/ { said("hung") }
		END { for (about in n) { gsub(/\t/, " ", last[about]); print "said", about, n[about], substr(last[about], 1, 200) } }'
fi

if at services; then
	run 5 systemctl list-units --failed --plain --no-legend --no-pager | awk -v OFS='\t' '{ print "failed", $1 }'
	run 5 systemctl show -p Id,LoadState,ActiveState pve-cluster.service corosync.service pvedaemon.service pveproxy.service pvestatd.service \
		pvescheduler.service pve-firewall.service cron.service ssh.service chrony.service systemd-timesyncd.service ntp.service \
		ntpsec.service | awk -F= -v OFS='\t' '
		function out() { if (id != "") print "service", id, load, active; id = "" }
		$1 == "Id" { id = $2; sub(/\.service$/, "", id) } $1 == "LoadState" { load = $2 } $1 == "ActiveState" { active = $2 }
		$0 == "" { out() } END { out() }'
fi

if at 'file systems'; then
	# proc_pid_mountinfo(5): whether it can be written to is said of the file system as a whole, since a folder of it that is mounted
	# once more may be read-only on purpose.
	while read -r _ _ _ within place rest; do
		# shellcheck disable=SC2086 # a word each
		set -- ${rest##* - }
		kind=${1-} device=${2-} options=${3-}
		case $kind in
			btrfs) ;;
			ext[234] | xfs | vfat | f2fs) [ "$within" = / ] || [ "$place" = / ] || continue ;;
			*) [ "$place" = / ] || continue ;;
		esac
		# Guests' disks are seen where they are at home.
		case $place in /var/lib/lxc/* | /var/lib/containers/* | /var/lib/docker/*) continue ;; esac
		writable=yes
		case ,$options, in *,ro,*) writable=no ;; esac
		place=$(printf '%b' "$(printf '%s' "$place" | sed 's/\\\([0-7]\{3\}\)/\\0\1/g')")
		# shellcheck disable=SC2046 # a word each
		set -- $(run 3 stat -f -c '%S %b %a %c %d' "$root$place")
		[ $# = 5 ] || continue
		fact mount "$place" "$device" "$kind" "$writable" $(($1 * $2 / 1024)) $(($1 * $3 / 1024)) "$4" "$5"
	done <"$root/proc/self/mountinfo" 2>/dev/null
fi

if at disks; then
	ids=$(find /dev/disk/by-id -type l -printf '%f %l\n' 2>/dev/null | grep -v -e '-part[0-9]' | sort)
	disks=$(run 5 lsblk -dnbP -o NAME,TYPE,RM,SIZE,ROTA,MODEL,SERIAL | grep 'TYPE="disk" RM="0"' | grep -v '^NAME="\(zd\|nbd\|ram\|zram\|drbd\|rbd\)')
	printf '%s\n' "$disks" | while read -r line; do
		[ -n "$line" ] || continue
		of() { printf '%s\n' "$line" | sed -n "s/.*$1=\"\([^\"]*\)\".*/\1/p" | sed 's/^ *//; s/ *$//'; }
		disk=$(of NAME)
		id=$(printf '%s\n' "$ids" | sed -n "s#^\([^ ]*\) \.\./\.\./$disk\$#\1#p" | grep -v -e '^wwn-' -e '^nvme-eui' -e '^lvm-' | head -n 1)
		fact disk "$disk" "$(of SIZE)" "$(of ROTA)" "$(of MODEL)" "$(of SERIAL)" "$id"
	done
	if [ -n "$disks" ] && have smartctl; then
		for disk in $(printf '%s\n' "$disks" | sed 's/^NAME="\([^"]*\)".*/\1/'); do
			read -r now _ </proc/uptime
			[ $((${now%.*} - began)) -lt 30 ] || break
			run 4 smartctl -n standby -H -A "/dev/$disk" | awk -v OFS='\t' -v disk="$disk" '
				/STANDBY|SLEEP/ { health = "asleep" }
				/overall-health self-assessment test result: PASSED|SMART Health Status: OK/ { health = "passed" }
				/overall-health self-assessment test result: FAILED|SMART Health Status: [^O]/ { health = "failed" }
				$1 == "5" || $1 == "197" || $1 == "198" { errors += $10; counted = 1 }
				/^Media and Data Integrity Errors:/ { errors += $NF; counted = 1 }
				/^Percentage Used:/ { worn = $NF; sub(/%/, "", worn) }
				$2 == "Media_Wearout_Indicator" || $2 == "Wear_Leveling_Count" || $2 == "SSD_Life_Left" { worn = 100 - $4 }
				END { print "smart", disk, health == "" ? "unknown" : health, counted ? errors : "-", worn == "" ? "-" : worn + 0 }'
		done
	fi
fi

if at LVM && here lvs; then
	run 5 lvs --readonly --noheadings --separator ' ' -o vg_name,lv_name,data_percent,metadata_percent -S segtype=thin-pool |
		awk -v OFS='\t' 'NF == 4 { print "thin", $1 "/" $2, int($3), int($4) }'
fi
awk -v OFS='\t' '/^md/ { name = $1 } /\[[U_]+\]$/ { state = $NF; gsub(/[][]/, "", state); print "raid", name, state }' "$root/proc/mdstat" 2>/dev/null

if at ZFS && here zpool && [ -e /sys/module/zfs ]; then
	run 5 zpool list -Hp -o name,health,capacity | while read -r pool health full; do
		status=$(run 5 zpool status -p "$pool")
		errors=$(printf '%s\n' "$status" | awk 'on && NF >= 5 && $3 ~ /^[0-9]+$/ { n += $3 + $4 + $5 } $1 == "NAME" { on = 1 } /^errors:/ { on = 0 } END { print n + 0 }')
		scrubbed=$(printf '%s\n' "$status" | sed -n 's/^ *scan: scrub .* on \(.*\)$/\1/p')
		fact pool "$pool" "$health" "${full%\%}" "$errors" "$(seconds "$scrubbed")"
	done
	fact arc "$(awk '$1 == "c_max" { printf "%d", $3 / 1024 }' /proc/spl/kstat/zfs/arcstats)"
fi

if at packages && here dpkg-query; then
	# shellcheck disable=SC2016 # dpkg's own
	run 5 dpkg-query -W -f '${db:Status-Abbrev} ${Package}\n' | awk -v OFS='\t' '
		$1 == "ii" && $2 ~ /^(proxmox-ve|pve-manager|intel-microcode|amd64-microcode)$/ { print "package", $1, $2; next }
		$1 !~ /^(ii|rc|un|pn)$/ { print "package", $1, $2 }'
	run 3 ps -eo etimes=,comm= | awk -v OFS='\t' '$2 ~ /^(apt|apt-get|dpkg|aptitude)$/ { print "busy", $2, $1 }'
	for file in "$root/etc/apt/sources.list" "$root"/etc/apt/sources.list.d/*.list; do
		[ -r "$file" ] || continue
		awk -v OFS='\t' -v file="${file#"$root"}" '$1 == "deb" {
			sub(/#.*/, ""); sub(/\[[^]]*\]/, ""); parts = ""
			for (i = 4; i <= NF; i++) parts = parts (i > 4 ? " " : "") $i
			print "repository", file, $2, $3, parts }' "$file"
	done
	for file in "$root"/etc/apt/sources.list.d/*.sources; do
		[ -r "$file" ] || continue
		awk -v OFS='\t' -v file="${file#"$root"}" '
			function out() { if (uris != "" && types ~ /deb( |$)/ && !off) print "repository", file, uris, suites, parts; uris = suites = parts = types = ""; off = 0 }
			/^#/ { next } /^[ \t]*$/ { out(); next }
			{ key = tolower($1); value = $0; sub(/^[^:]*:[ \t]*/, "", value); gsub(/\t/, " ", value) }
			key == "types:" { types = value } key == "uris:" { uris = value } key == "suites:" { suites = value }
			key == "components:" { parts = value } key == "enabled:" && tolower(value) ~ /^(no|false|0|off|disable)/ { off = 1 }
			END { out() }' "$file"
	done
	fetched=$(find "$root/var/lib/apt/lists" -maxdepth 1 -name '*Release' -printf '%T@\n' 2>/dev/null | sort -n | tail -n 1)
	ends=$(find "$root/var/lib/apt/lists" -maxdepth 1 -name '*Release' -exec sed -n '1,20s/^Valid-Until: //p' {} + 2>/dev/null |
		while read -r day; do seconds "$day"; done | sort -n | head -n 1)
	fact lists "${fetched%.*}" "$ends"
	if [ -z "$root" ]; then
		# A cache that is not of today would be written anew, which takes its time as well.
		cache=/var/cache/apt/pkgcache.bin
		if [ -n "$(find $cache -newer /var/lib/dpkg/status 2>/dev/null)" ] && [ -z "$(find /var/lib/apt/lists /etc/apt -newer $cache 2>/dev/null | head -n 1)" ]; then
			set -- -o Debug::NoLocking=1
		else
			set -- -o Debug::NoLocking=1 -o Dir::Cache::pkgcache= -o Dir::Cache::srcpkgcache=
		fi
		run 15 apt-get -s "$@" dist-upgrade |
			awk -v OFS='\t' '/^Inst / { n++; if (/[Ss]ecurity/) s++ } /^[0-9]+ upgraded/ { ended = 1 } END { if (ended) print "upgrades", n + 0, s + 0 }'
	fi
fi
if at subscription && here pvesubscription; then
	fact subscription "$(run 8 pvesubscription get | sed -n 's/^status: *//p')"
fi

if at time; then
	shown=$(run 5 timedatectl show)
	of() { printf '%s\n' "$shown" | sed -n "s/^$1=//p"; }
	zone=$(readlink "$root/etc/localtime" 2>/dev/null)
	[ -e "$root/etc/localtime" ] || zone=
	fact time "${zone##*zoneinfo/}" "$(word /etc/timezone)" "$(of LocalRTC)" "$(of NTPSynchronized)"
fi

if at names; then
	fact own "$(run 3 getent -s files ahosts "$name" | awk '!had[$1]++ { printf "%s%s", n++ ? " " : "", $1 }')"
	run 3 ip -o addr show | awk -v OFS='\t' '$3 ~ /^inet/ { sub(/\/.*/, "", $4); print "address", $2, $4 }'
	sed -n "s/^nameserver[[:space:]]*\([^[:space:]]*\).*/resolver$tab\1/p" "$root/etc/resolv.conf" 2>/dev/null
	{
		run 3 ip -o -4 route show default
		run 3 ip -o -6 route show default
	} | awk -v OFS='\t' '{ for (i = 1; i < NF; i++) if ($i == "dev") print "route", $(i + 1) }'
	# Who brings the packages has a name that has to be found.
	asked=$(cat "$root/etc/apt/sources.list" "$root"/etc/apt/sources.list.d/*.list "$root"/etc/apt/sources.list.d/*.sources 2>/dev/null |
		sed -n 's#^\(deb\|URIs:\).*https\{0,1\}://\([A-Za-z0-9.-]*[A-Za-z]\)[:/ ].*#\2#p; s#^\(deb\|URIs:\).*https\{0,1\}://\([A-Za-z0-9.-]*[A-Za-z]\)$#\2#p' | head -n 1)
	if [ -n "$asked" ]; then fact lookup "$asked" "$(yes run 5 getent ahosts "$asked")"; fi
fi

if at links; then
	for it in "$root"/sys/class/net/*; do
		link=${it##*/}
		case $link in lo | veth* | tap* | fwbr* | fwpr* | fwln* | bonding_masters) continue ;; esac
		[ -e "$it" ] || continue
		kind=other
		if [ -e "$it/device" ]; then kind=card; elif [ -d "$it/bridge" ]; then kind=bridge; elif [ -d "$it/bonding" ]; then kind=bond; fi
		up=$(readlink "$it/master" 2>/dev/null)
		speed=$(cat "$it/speed" 2>/dev/null)
		case $speed in -*) speed= ;; esac
		fact link "$link" "$kind" "$(cat "$it/address" 2>/dev/null)" "$(cat "$it/mtu")" "$(cat "$it/operstate")" "$speed" "${up##*/}"
	done
	if [ -e "$root/etc/network/interfaces.new" ]; then fact pending /etc/network/interfaces.new; fi
fi

if at cluster; then
	mounted=$(yes test -e "$root/etc/pve/local")
	fact cluster "$mounted" "$(yes test -d "$root/etc/pve/nodes/$name")"
	if [ -e "$root/etc/pve/corosync.conf" ] && here pvecm; then
		fact quorum "$(run 8 pvecm status | sed -n 's/^Quorate: *//p' | tr 'YN' 'yn')"
	fi
	if here openssl; then
		for file in /etc/pve/local/pveproxy-ssl.pem /etc/pve/local/pve-ssl.pem /etc/pve/pve-root-ca.pem; do
			[ -r "$root$file" ] || continue
			fact certificate "$file" "$(seconds "$(run 3 openssl x509 -noout -enddate -in "$root$file" | sed 's/^notAfter=//')")"
		done
	fi
fi

if at storages && here pvesm; then
	# Name, type, status, total, used, available, percent; KiB.
	run 12 pvesm status | awk -v OFS='\t' 'NR > 1 && NF >= 5 { print "storage", $1, $3, $4 + 0, $5 + 0 }'
fi

if at guests; then
	for file in "$root/etc/pve/nodes/$name"/lxc/*.conf "$root/etc/pve/nodes/$name"/qemu-server/*.conf; do
		[ -r "$file" ] || continue
		kind=vm
		case $file in */lxc/*) kind=ct ;; esac
		id=${file##*/}
		# shellcheck disable=SC2016 # awk's own
		run 3 awk -v OFS='\t' -v id="${id%.conf}" -v kind="$kind" '
			/^\[/ { inside = 1; if (!/^\[(special|pending|PENDING)/) snapshots++ }
			/^snaptime:/ { if (oldest == "" || $2 < oldest) oldest = $2 }
			inside { next }
			/^lock:/ { lock = $2 } /^memory:/ { memory = $2 } /^onboot: *1/ { starts = 1 }
			/^(hostpci|usb|dev)[0-9]+:/ { devices = 1 }
			END { print "guest", id, kind, lock == "" ? "-" : lock, memory + 0 ? memory + 0 : 512, starts ? "yes" : "no", devices ? "yes" : "no", snapshots + 0, oldest == "" ? "-" : oldest }' "$file"
	done
	jobs=$(cat "$root/etc/pve/jobs.cfg" "$root/etc/pve/vzdump.cron" 2>/dev/null | grep -c -e '^vzdump:' -e '^[^#].*vzdump ')
	last=$(find "$root/var/log/vzdump" -maxdepth 1 -name '*.log' -printf '%T@\n' 2>/dev/null | sort -n | tail -n 1)
	fact backups "$jobs" "${last%.*}"
fi

if at limits; then
	# shellcheck disable=SC2046 # a word each
	set -- $(cat "$root/proc/sys/fs/file-nr" 2>/dev/null)
	most=${3-}
	# Where there is no limit, the number is larger than what some count with.
	[ ${#most} -lt 18 ] || most=999999999999999999
	fact limits "$(word /proc/sys/fs/inotify/max_user_instances)" "$(word /proc/sys/fs/inotify/max_user_watches)" "${1-}" "$most" \
		"$(word /proc/sys/kernel/random/entropy_avail)" "$(word /proc/sys/user/max_user_namespaces)" \
		"$(word /proc/sys/net/netfilter/nf_conntrack_count)" "$(word /proc/sys/net/netfilter/nf_conntrack_max)"
	for file in subuid subgid; do
		awk -F: -v OFS='\t' -v file="$file" '$1 == "root" { print "idmap", file, $2, $3 }' "$root/etc/$file" 2>/dev/null
	done
	fact apart "$(yes test "$(word /sys/module/apparmor/parameters/enabled)" = Y)" "$(yes test "$(stat -f -c %T "$root/sys/fs/cgroup" 2>/dev/null)" = cgroup2fs)"
fi

if at 'who may log in'; then
	if here sshd; then
		run 4 sshd -T | awk -v OFS='\t' '$1 == "permitrootlogin" { r = $2 } $1 == "passwordauthentication" { p = $2 } END { if (r != "") print "ssh", r, p }'
	fi
	awk -F: -v OFS='\t' '$1 == "root" { print "root", $2 == "" ? "empty" : $2 ~ /^[!*]/ ? "locked" : "set" }' "$root/etc/shadow" 2>/dev/null
	for file in "$root/etc/exports" "$root"/etc/exports.d/*.exports; do
		[ -r "$file" ] || continue
		awk -v OFS='\t' '!/^[[:space:]]*(#|$)/ { gsub(/\t/, " "); print "export", $0 }' "$file"
	done
fi

# shellcheck disable=SC2317,SC2329 # each_card calls it, which stands before this (gpus/cards.sh)
card() {
	title=
	if here lspci; then title=$(run 3 lspci -s "$1" | sed 's/^[^ ]* [^:]*: //'); fi
	fact gpu "$1" "$2" "$3" "$4" "$title"
	found=1
}
if at 'graphics cards'; then
	each_card
	if [ -n "${found-}" ]; then
		library=$(find "$root/usr/lib/x86_64-linux-gnu" "$root/usr/lib64" -maxdepth 1 -name 'libnvidia-ml.so.[0-9]*.*' 2>/dev/null | sed 's#.*/libnvidia-ml\.so\.##' | sort -V | tail -n 1)
		module=
		if here modinfo; then module=$(run 3 modinfo -F version nvidia); fi
		fact nvidia "$(word /sys/module/nvidia/version)" "$module" "$library"
	fi
fi
fact end "$(date +%s)"
