#!/bin/busybox sh
# The machine's first process: puts the host's file system, read-only, under one in memory, and goes there.
# /settings gives: modules (their directory on the host), release (of the kernel), share (or nothing), order (of insmod).
b=/bin/busybox
. /settings
die() { $b echo "vm: $1"; $b poweroff -f; }
$b mkdir -p /proc /sys /dev /host /memory /new
$b mount -t proc proc /proc
$b mount -t sysfs sys /sys
$b mount -t devtmpfs dev /dev
for module in $order; do $b insmod "/modules/$module" || $b echo "vm: no module $module"; done

plan9=trans=virtio,version=9p2000.L,msize=524288
$b mount -t 9p -o "ro,$plan9,cache=loose" root /host || die "cannot mount the host's file system"
$b mount -t tmpfs -o size=75% memory /memory
$b mkdir /memory/upper /memory/work
$b mount -t overlay -o lowerdir=/host,upperdir=/memory/upper,workdir=/memory/work overlay /new ||
  die "cannot mount the overlay"

$b mkdir -p /new/proc /new/sys /new/dev /new/run "/new/lib/modules/$release"
$b mount -t proc proc /new/proc
$b mount -t sysfs sys /new/sys
$b mount -t devtmpfs dev /new/dev
$b mkdir -p /new/dev/pts /new/dev/shm
$b mount -t devpts devpts /new/dev/pts
$b mount -t tmpfs shm /new/dev/shm
$b mount -t tmpfs run /new/run
$b mount -t cgroup2 cgroup /new/sys/fs/cgroup
$b mount -t bpf bpf /new/sys/fs/bpf 2>/dev/null
$b mount --bind "/host$modules" "/new/lib/modules/$release"
$b mkdir /new/run/linkspan-vm /new/run/netns
$b mount -t 9p -o "$plan9" exchange /new/run/linkspan-vm || die "cannot mount the exchange directory"
if [ -n "$share" ]; then
  $b mkdir -p "/new$share" && $b mount -t 9p -o "$plan9,cache=mmap" share "/new$share" || die "cannot mount $share"
fi
exec $b switch_root /new /bin/sh /run/linkspan-vm/guest
