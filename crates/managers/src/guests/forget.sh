#!/bin/sh
# phoenix-forget: a guest that becomes a template forgets who it is, so that none of its clones is the same as another.
# It may run twice.
set -eu

# The keys of its ssh. Debian's packages make them when they are installed, and nothing makes them again; so a unit does, before
# ssh starts.
rm -f /etc/ssh/ssh_host_*
if command -v ssh-keygen >/dev/null && [ -d /etc/systemd/system ] && [ -d /etc/ssh ]; then
  cat >/etc/systemd/system/phoenix-host-keys.service <<'UNIT'
[Unit]
Description=Keys of this host for ssh, where there are none
Before=ssh.service sshd.service ssh.socket
ConditionPathExistsGlob=!/etc/ssh/ssh_host_*_key

[Service]
Type=oneshot
ExecStart=/usr/bin/ssh-keygen -A

[Install]
WantedBy=multi-user.target
UNIT
  mkdir -p /etc/systemd/system/multi-user.target.wants
  ln -sf ../phoenix-host-keys.service /etc/systemd/system/multi-user.target.wants/phoenix-host-keys.service
fi

# The machine's id, which DHCP, the journal and systemd go by: an empty file is filled at the next start.
if [ -e /etc/machine-id ]; then : >/etc/machine-id; fi
if [ -e /var/lib/dbus/machine-id ] && [ ! -L /var/lib/dbus/machine-id ]; then rm -f /var/lib/dbus/machine-id; fi

# What randomness begins with, what credentials are sealed with, leases, histories, journals.
rm -f /var/lib/systemd/random-seed /var/lib/systemd/credential.secret
rm -rf /var/lib/dhcp/*.leases /var/lib/dhcpcd/*.lease /var/lib/NetworkManager/*.lease /run/systemd/netif/leases/*
rm -rf /var/log/journal/*
rm -f /root/.bash_history

# A first start is one again.
if command -v cloud-init >/dev/null; then cloud-init clean --logs --seed >/dev/null; fi
sync
