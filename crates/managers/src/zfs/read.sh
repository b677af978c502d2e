# shellcheck shell=dash
# What the node has of ZFS, and its disks, each part as its own program prints it. Changes nothing, and says nothing where there
# is no ZFS.
LC_ALL=C
PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
export LC_ALL PATH
[ -e /dev/zfs ] && command -v zpool >/dev/null || exit 0
part() {
	echo "= $1"
	shift
	timeout 8 "$@" 2>/dev/null
}
part ids find /dev/disk/by-id -type l -printf '%f %l\n'
echo "= disks"
# Without what is in memory, media, loops, and the volumes of ZFS itself.
disks=$(timeout 8 lsblk -Pbo NAME,TYPE,PKNAME,SIZE,SERIAL,FSTYPE,PTTYPE,LABEL,UUID,MOUNTPOINT -e 1,7,11,230 2>/dev/null)
printf '%s\n' "$disks"
pools=$(timeout 8 zpool list -Hpo guid,name,size,allocated,health 2>/dev/null) || exit 1
printf '= pools\n%s\n' "$pools"
if [ -n "$pools" ]; then
	# From half of it nothing may be concluded.
	part status zpool status -pP || exit 1
	part properties zpool get -Hpo name,property,value all || exit 1
	part datasets zfs list -Hpo type,name,used,available -t filesystem,volume || exit 1
	part keys zfs get -Hpo name,property,value -t filesystem,volume encryptionroot,keystatus,mounted || exit 1
	part local zfs get -Hpo name,property,value -s local,received -t filesystem,volume all || exit 1
fi
# Looking for pools reads every disk, so only where one says that it is of a pool that is not imported.
known=" $(printf '%s\n' "$pools" | while read -r guid _; do printf '%s ' "$guid"; done)"
others=$(printf '%s\n' "$disks" | while read -r line; do
	case $line in *'FSTYPE="zfs_member"'*) ;; *) continue ;; esac
	uuid=${line##* UUID=\"}
	uuid=${uuid%%\"*}
	# What only caches or stands by says no pool.
	[ -n "$uuid" ] || continue
	case $known in *" $uuid "*) ;; *) echo yes ;; esac
done)
[ -z "$others" ] || part importable zpool import -d /dev/disk/by-id
echo "= end"
