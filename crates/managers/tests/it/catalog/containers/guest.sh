# shellcheck shell=dash
set -e
dir=$1 base=$2 name=$3
mount --make-rprivate /
# LXC asks this file whether root may use these user numbers; the machine's own stays as it is.
echo root:100000:65536 >"$dir/subid"
mount --bind "$dir/subid" /etc/subuid
mount --bind "$dir/subid" /etc/subgid
mkdir -p "$dir/disk" "$dir/root" "$dir/lxc/$name" "$dir/volume"
chmod 755 "$dir"
chown 100000:100000 "$dir/volume"
mount -t tmpfs none "$dir/disk"
mkdir "$dir/disk/upper" "$dir/disk/work"
chown 100000:100000 "$dir/disk/upper" "$dir/disk/work"
mount -t overlay overlay -o "lowerdir=$base,upperdir=$dir/disk/upper,workdir=$dir/disk/work" "$dir/root"
cat >"$dir/lxc/$name/config" <<-CONFIG
	lxc.include = /usr/share/lxc/config/common.conf
	lxc.include = /usr/share/lxc/config/userns.conf
	lxc.include = /usr/share/lxc/config/nesting.conf
	lxc.uts.name = fresh
	lxc.apparmor.profile = unconfined
	lxc.rootfs.path = dir:$dir/root
	lxc.idmap = u 0 100000 65536
	lxc.idmap = g 0 100000 65536
	lxc.net.0.type = empty
	# A volume of its own, on the machine's file system: layers cannot be laid over an overlay.
	lxc.mount.entry = $dir/volume srv/volume none bind,create=dir 0 0
CONFIG
exec lxc-start -P "$dir/lxc" -n "$name" -F
