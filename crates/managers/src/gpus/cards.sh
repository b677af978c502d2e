# shellcheck shell=dash
# each_card: has `card ADDRESS VENDOR DEVICE DRIVER` called for each graphics card of the node. root: a folder in place of /.
each_card() {
	for each in "${root-}"/sys/bus/pci/devices/*; do
		{ read -r class <"$each/class"; } 2>/dev/null || continue
		case $class in 0x03*) ;; *) continue ;; esac
		vendor=$(cat "$each/vendor")
		device=$(cat "$each/device")
		driver=$(readlink "$each/driver" 2>/dev/null)
		card "${each##*/}" "${vendor#0x}" "${device#0x}" "${driver##*/}"
	done
}
