# Runs in the machine once its root is the host's: the command, its exit status, power off.
exchange=/run/linkspan-vm
echo 1 >/proc/sys/kernel/printk
ln -sf /proc/self/fd /dev/fd
ln -sf fd/0 /dev/stdin
ln -sf fd/1 /dev/stdout
ln -sf fd/2 /dev/stderr
. "$exchange/environment"
export PATH="$PATH:/usr/sbin:/sbin"
echo linkspan-vm >/proc/sys/kernel/hostname
ip link set lo up 2>/dev/null || busybox ip link set lo up
# What a Debian system does at boot: /dev/net/tun is there.
modprobe tun
stty -F /dev/ttyS1 raw -echo 2>/dev/null
cd "$(cat "$exchange/directory")" || cd /
sh "$exchange/command" </dev/null >/dev/ttyS1 2>&1
echo $? >"$exchange/status"
sync
echo o >/proc/sysrq-trigger
sleep 60
