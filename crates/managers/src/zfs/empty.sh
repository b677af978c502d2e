# shellcheck shell=dash
# Sees to it that disks are empty: ID SERIAL ID SERIAL … With `-` for a serial number nothing may be on the disk; with another,
# what is on the disk of that number is destroyed. What is in use stays. It asks the disks, not what is remembered of them.
LC_ALL=C
PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
export LC_ALL PATH
fail() {
	echo "$1" >&2
	exit 1
}
while [ $# -ge 2 ]; do
	id=$1
	serial=$2
	shift 2
	disk=$(readlink -e "/dev/disk/by-id/$id") || fail "the node has no disk $id"
	[ "$(lsblk -dnro TYPE "$disk")" = disk ] || fail "$id is no disk"
	mounted=$(lsblk -nro MOUNTPOINT "$disk" | tr -d '\n')
	[ -z "$mounted" ] || fail "$id is in use: something on it is mounted at $mounted"
	made=$(lsblk -nro NAME,TYPE "$disk" | grep -v -e ' disk$' -e ' part$')
	[ -z "$made" ] || fail "$id is in use: $made is made of it"
	if [ "$serial" != - ]; then
		is=$(lsblk -dno SERIAL "$disk" | tr -d ' \n')
		[ "$is" = "$(printf '%s' "$serial" | tr -d ' ')" ] || fail "$id has the serial number $is, not $serial"
		# What is on its partitions first, the table last.
		for part in $(lsblk -nrpo NAME "$disk" | sort -r); do
			wipefs --quiet --all "$part" || fail "$id is in use: $part cannot be emptied"
		done
		udevadm settle --timeout=20
	fi
	[ "$(lsblk -nro NAME "$disk" | wc -l)" = 1 ] || fail "$id is not empty: it has partitions"
	holds=$(wipefs --noheadings --no-act --output TYPE "$disk" | tr '\n' ' ')
	[ -z "$holds" ] || fail "$id is not empty: $holds"
done
