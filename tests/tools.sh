#!/usr/bin/env bash
# The programs that tests use to look at networks from outside, and the Debian packages that hold them.
# Says which are missing; as root on a machine with apt, installs them. Linkspan itself needs none.
# Usage: tests/tools.sh [--check]      --check only says; exit status 1 if something is missing in the end
set -euo pipefail

# program:package
tools=(
  ip:iproute2 bridge:iproute2 ss:iproute2 tc:iproute2 nft:nftables ethtool:ethtool ping:iputils-ping
  curl:curl tcpdump:tcpdump strace:strace ps:procps unshare:util-linux nsenter:util-linux
  setpriv:util-linux brctl:bridge-utils python3:python3 qemu-system-x86_64:qemu-system-x86
  ovsdb-server:openvswitch-common ovs-vswitchd:openvswitch-switch ovs-vsctl:openvswitch-switch
  /usr/lib/cni/bridge:containernetworking-plugins iptables:iptables containerd:containerd runc:runc
  podman:podman crun:crun busybox:busybox-static sqlite3:sqlite3 slirp4netns:slirp4netns newuidmap:uidmap
  dig:bind9-dnsutils dnsmasq:dnsmasq-base firewalld:firewalld dbus-daemon:dbus-daemon
)

# Debian keeps some of them where only root's PATH looks.
export PATH=$PATH:/usr/sbin:/sbin

missing() {
  local tool
  for tool in "${tools[@]}"; do
    command -v "${tool%%:*}" >/dev/null || echo "$tool"
  done
}

install() {
  local packages
  mapfile -t packages < <(printf '%s\n' "$@" | sed 's/.*://' | sort -u)
  echo "installing: ${packages[*]}"
  export DEBIAN_FRONTEND=noninteractive
  apt-get install -y -qq --no-install-recommends "${packages[@]}" >/dev/null 2>&1 ||
    { apt-get update -qq >/dev/null 2>&1 &&
      apt-get install -y -qq --no-install-recommends "${packages[@]}" >/dev/null; }
}

mapfile -t lacking < <(missing)
if [ "${#lacking[@]}" -gt 0 ] && [ "${1:-}" != --check ]; then
  if [ "$(id -u)" != 0 ]; then
    echo "not root: cannot install anything"
  elif ! command -v apt-get >/dev/null; then
    echo "no apt-get: install by hand what is missing"
  else
    install "${lacking[@]}" || echo "apt-get could not install everything"
  fi
  mapfile -t lacking < <(missing)
fi
if [ "${#lacking[@]}" -gt 0 ]; then
  printf 'missing: %s (package %s)\n' $(printf '%s\n' "${lacking[@]}" | sed 's/:/ /')
  echo "tests that need them will say skipped"
  exit 1
fi
echo "all tools are here"
