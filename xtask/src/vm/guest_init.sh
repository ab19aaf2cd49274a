#!/bin/busybox sh
# The first process of a machine on a network: takes its address from the kernel's arguments, asks, serves, and says how
# it went on the console. /settings gives: order (of insmod). Arguments: linkspan.address= (with prefix length), .gateway=,
# .peer= (to be pinged), .page= (to be fetched).
b=/bin/busybox
. /settings
say() { $b echo "guest: $*"; }
$b mkdir -p /proc /sys /dev /www
$b mount -t proc proc /proc
$b mount -t sysfs sys /sys
$b mount -t devtmpfs dev /dev
for module in $order; do $b insmod "/modules/$module" || say "no module $module"; done
for word in $($b cat /proc/cmdline); do
  case $word in
  linkspan.address=*) address=${word#*=} ;;
  linkspan.gateway=*) gateway=${word#*=} ;;
  linkspan.peer=*) peer=${word#*=} ;;
  linkspan.page=*) page=${word#*=} ;;
  esac
done
$b ip link set lo up
$b ip link set eth0 up
$b ip address add "$address" dev eth0
$b ip route add default via "$gateway"
say "mac $($b cat /sys/class/net/eth0/address)"
$b ping -c 1 -W 5 "$peer" >/dev/null && say "pinged $peer"
# Debian 12's busybox dies of its own wget -T.
say "page $($b timeout 20 $b wget -q -O - "$page")"
$b echo "hello from the machine" >/www/index.html
$b httpd -p 80 -h /www
say ready
while true; do $b sleep 1000; done
