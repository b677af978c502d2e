#!/bin/sh
# Stands in for what a node has around NVIDIA's driver: the kernel's version, headers from apt, modules, systemd-run, and NVIDIA's
# installers of three versions, on a web server's folder. What was asked is in /run/asked.
# shellcheck disable=SC2016
set -eu
kernel=6.14.8-2-pve
mkdir -p /run/web /sys/module "/lib/modules/$kernel"
# The kernel's own files are another machine's.
mount -t tmpfs none /proc/driver
: >/run/asked
rm -f /run/systemd/container

program() {
	printf '#!/bin/sh\n%s\n' "$2" >"/usr/local/sbin/$1"
	chmod 755 "/usr/local/sbin/$1"
}
program uname "[ \"\$*\" != -r ] || { echo $kernel; exit; }; exec /usr/bin/uname \"\$@\""
program apt-cache '[ "$2" = proxmox-default-headers ] || [ "$2" = "proxmox-headers-'$kernel'" ]'
program apt-get 'echo "apt-get $*" >>/run/asked; [ -e /run/no-headers ] || { mkdir -p /lib/modules/'$kernel'/build; : >/lib/modules/'$kernel'/build/Makefile; }'
program update-initramfs 'echo "update-initramfs $*" >>/run/asked'
program proxmox-boot-tool 'echo "proxmox-boot-tool $*" >>/run/asked'
program modinfo 'cat "/lib/modules/'$kernel'/nvidia.$2"'
program modprobe 'echo "modprobe $*" >>/run/asked
[ "$1" = nvidia ] || exit 0
mkdir -p /sys/module/nvidia /proc/driver/nvidia
echo "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  $(modinfo -F version nvidia)  Release Build  (x@y)  Fri Feb 14 17:31:04 UTC 2025" >/proc/driver/nvidia/version'
program systemd-run 'while [ "$1" != -- ]; do shift; done; shift; exec "$@"'

for version in 570.133.07 575.64.03 600.1.1; do
	cat >/run/web/$version.run <<RUN
#!/bin/sh
version=$version
RUN
	cat >>/run/web/$version.run <<'RUN'
[ "$1 $2" = "--extract-only --target" ] && mkdir "$3" && sed -e "s/@VERSION@/$version/" >"$3/nvidia-installer" <<'INSTALLER' && chmod 755 "$3/nvidia-installer"
#!/bin/sh
if [ "$1" = --advanced-options ]; then
	printf '  --kernel-module-type=\n  --skip-module-load\n'
	[ @VERSION@ = 570.133.07 ] || echo '  --allow-installation-with-running-driver'
	exit
fi
echo "nvidia-installer $*" >>/run/asked
if [ @VERSION@ = 600.1.1 ]; then
	echo 'ERROR: Failed to run `make`.' >/var/log/nvidia-installer.log
	mkdir -p /var/lib/dkms/nvidia/600.1.1/build
	echo 'nv-mmap.c:7: error: too many arguments to function' >/var/lib/dkms/nvidia/600.1.1/build/make.log
	exit 1
fi
license='Dual MIT/GPL'
case " $* " in *" --kernel-module-type=proprietary "*) license=NVIDIA ;; esac
echo @VERSION@ >"/lib/modules/$(uname -r)/nvidia.version"
echo "$license" >"/lib/modules/$(uname -r)/nvidia.license"
printf '#!/bin/sh\necho "nvidia-smi $*" >>/run/asked\n' >/usr/bin/nvidia-smi
printf '#!/bin/sh\necho "nvidia-uninstall $*" >>/run/asked\nrm -f /usr/bin/nvidia-smi\n' >/usr/bin/nvidia-uninstall
chmod 755 /usr/bin/nvidia-smi /usr/bin/nvidia-uninstall
INSTALLER
RUN
done
