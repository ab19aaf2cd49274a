# Prepares new mount, network and process namespaces of the machine's own root for container runtimes; then becomes "$@".
set -e
mount -t tmpfs tmpfs /run
# What runtimes read and write in these directories is this test's own; everything else in them is as it was.
for directory in /etc /opt /var/lib; do
  [ -d $directory ] || continue
  kept=/run/kept$directory
  mkdir -p $kept
  mount --rbind $directory $kept
  mount -t tmpfs tmpfs $directory
  ls -A $kept | while read -r entry; do
    case $entry in
      netns | cni | containers | containerd | linkspan) ;;
      *) ln -s "$kept/$entry" $directory/ ;;
    esac
  done
done
mount -t tmpfs tmpfs /dev/shm
mount -t sysfs sysfs /sys
mount -t cgroup2 none /sys/fs/cgroup
ip link set lo up
exec "$@"
