#!/bin/sh
# Makes the node's system out of the node of a lab of containers: called in its root, with the packages to install. ZFS is built
# here for the kernel that is installed, and kept without what it was built with: as on Proxmox VE, it is then part of the kernel.
set -eu
# What the kernel starts with is made once, at the end, when all that belongs into it is there.
export DEBIAN_FRONTEND=noninteractive LC_ALL=C INITRD=No
install() {
  apt-get -qq -y -o Dpkg::Options::=--force-unsafe-io install "$@"
}
apt-get -qq update
install "$@"
kernel=$(find /lib/modules -mindepth 1 -maxdepth 1 -printf '%f\n' | sort -V | tail -n 1)
install linux-headers-amd64 zfs-dkms
# The package builds for the kernel that it takes to be the one in use; where that was another, this one is built now.
dkms autoinstall -k "$kernel"
mkdir -p "/lib/modules/$kernel/extra"
find "/lib/modules/$kernel/updates/dkms" -name '*.ko*' -exec cp -t "/lib/modules/$kernel/extra" {} +
apt-get -qq -y purge zfs-dkms dkms linux-headers-amd64
apt-get -qq -y autoremove --purge
depmod "$kernel"
modinfo -k "$kernel" -n zfs
update-initramfs -c -k "$kernel"
apt-get clean
# The boot loader, as on a real one: its first part goes in front of the file system (image.rs), and what it starts is said by the
# file that update-grub writes anew.
modules=/boot/grub/i386-pc
mkdir -p "$modules" /etc/default/grub.d
cp /usr/lib/grub/i386-pc/*.mod /usr/lib/grub/i386-pc/*.lst /usr/lib/grub/i386-pc/boot.img "$modules/"
grub-mkimage -O i386-pc -p /boot/grub -c /etc/phoenix-lab/grub-first.cfg -o "$modules/core.img" \
  biosdisk part_msdos ext2 search search_label normal
cat >/etc/default/grub <<END
GRUB_DEFAULT=0
GRUB_TIMEOUT=0
GRUB_RECORDFAIL_TIMEOUT=0
GRUB_DISTRIBUTOR=Debian
GRUB_CMDLINE_LINUX_DEFAULT=""
GRUB_CMDLINE_LINUX="console=ttyS0 net.ifnames=0"
GRUB_TERMINAL=serial
GRUB_DISABLE_OS_PROBER=true
END
cat >/boot/grub/grub.cfg <<END
linux /boot/vmlinuz-$kernel root=LABEL=phoenix-node ro console=ttyS0 net.ifnames=0
initrd /boot/initrd.img-$kernel
boot
END
