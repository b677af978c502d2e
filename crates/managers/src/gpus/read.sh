# shellcheck shell=dash
# What the node has of graphics cards, a line for each fact, words with tabs between them. Changes nothing. Stands behind cards.sh.
# Argument: a folder in place of /, for tests.
LC_ALL=C
PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
export LC_ALL PATH
root=${1-}
tab=$(printf '\t')
fact() {
	IFS=$tab
	printf '%s\n' "$*"
	unset IFS
}
# first FILE: its first line, or `-`.
first() {
	line=
	{ read -r line <"$1"; } 2>/dev/null
	printf '%s' "${line:--}"
}
# shellcheck disable=SC2317,SC2329 # each_card calls it
card() {
	at=$root/sys/bus/pci/devices/$1
	group=$(readlink "$at/iommu_group" 2>/dev/null)
	group=${group##*/}
	one=$(first "$at/subsystem_vendor")
	two=$(first "$at/subsystem_device")
	subsystem=-
	[ "$one" = - ] || [ "$two" = - ] || subsystem=${one#0x}:${two#0x}
	# By the address in capitals or small letters, whichever the driver takes.
	minor=$(sed -n 's/^Device Minor:[[:space:]]*//p' "$root/proc/driver/nvidia/gpus/$1/information" 2>/dev/null)
	fact card "$1" "$2" "$3" "$subsystem" "${4:--}" "${group:--}" "$(first "$at/boot_vga")" \
		"$(first "$at/mem_info_vram_total")" "${minor:--}"
	for node in "$at"/drm/card[0-9]* "$at"/drm/renderD[0-9]*; do
		[ ! -e "$node" ] || fact dri "$1" "${node##*/}"
	done
	known=" $1 "
	for other in "$root/sys/bus/pci/devices/${1%.*}".* "$at"/iommu_group/devices/*; do
		name=${other##*/}
		[ -e "$other" ] || continue
		case $known in *" $name "*) continue ;; esac
		known="$known$name "
		kind=$(first "$root/sys/bus/pci/devices/$name/class")
		by=$(readlink "$root/sys/bus/pci/devices/$name/driver" 2>/dev/null)
		by=${by##*/}
		fact beside "$1" "$name" "${kind#0x}" "${by:--}"
	done
}
set -- "$root"/sys/class/iommu/*
if [ -e "$1" ]; then fact iommu $#; else fact iommu 0; fi
! grep -q '^vendor_id.*GenuineIntel' "$root/proc/cpuinfo" 2>/dev/null || fact cpu intel
version=$(first "$root/sys/module/nvidia/version")
[ "$version" = - ] || fact nvidia "$version"
each_card
if [ "$version" != - ] && command -v nvidia-smi >/dev/null; then
	timeout -k 1 5 nvidia-smi --query-gpu=pci.bus_id,memory.total --format=csv,noheader,nounits 2>/dev/null </dev/null |
		while IFS=', ' read -r bus mib _; do
			case $mib in '' | *[!0-9]*) continue ;; esac
			fact smi "$bus" "$mib"
		done
fi
for node in "$root"/dev/nvidia* "$root"/dev/nvidia-caps/* "$root"/dev/kfd "$root"/dev/dri/*; do
	[ -c "$node" ] || continue
	# What is a number in hexadecimal digits there.
	numbers=$(stat -c '%t %T' "$node" 2>/dev/null) || continue
	fact node "${node#"$root"}" "$((0x${numbers% *}))" "$((0x${numbers#* }))"
done
fact end
