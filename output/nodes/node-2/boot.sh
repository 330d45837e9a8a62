#!/bin/sh
# Written by podlan from the site's inventory: change that and compile, not this file.
# The network state of this node with sh and iproute2 alone; a second run changes nothing.
set -eu

# set_sysctl PATH VALUE: a path that is not there belongs to a protocol that this kernel has switched off.
set_sysctl() {
    if [ -e "/proc/sys/$1" ] && [ "$(cat "/proc/sys/$1")" != "$2" ]; then
        echo "$2" > "/proc/sys/$1"
    fi
}

# wait_for WHAT COMMAND...: the operating system brings interfaces and addresses up in its own time.
wait_for() {
    what=$1
    shift
    tries=60
    until "$@" > /dev/null 2>&1; do
        tries=$((tries - 1))
        if [ "$tries" -le 0 ]; then
            echo "boot.sh: $what is not there" >&2
            exit 75
        fi
        sleep 1
    done
}

wait_for eth0 ip link show dev eth0

# is_on ADDRESS INTERFACE...: one of them has it, with any prefix length.
is_on() {
    address=$1
    shift
    for interface in "$@"; do
        if ip -o address show dev "$interface" 2> /dev/null | grep -qF " $address/"; then
            return 0
        fi
    done
    return 1
}
# A machine without the node's own addresses is another node, or not up yet.
wait_for '172.16.129.102 of node-2' is_on 172.16.129.102 eth0

# has_address ADDRESS INTERFACE [METRIC]
has_address() { ip -o address show dev "$2" 2> /dev/null | grep -qF " $1 ${3:+metric $3 }"; }

set_sysctl net/ipv4/conf/eth0/arp_filter 1
set_sysctl net/ipv4/ip_forward 1
set_sysctl net/ipv4/conf/all/send_redirects 0

if ! ip link show dev macvlan0 > /dev/null 2>&1; then
    ip link add link eth0 name macvlan0 address 02:70:ac:10:81:c6 type macvlan mode bridge
fi
ip link set dev macvlan0 address 02:70:ac:10:81:c6 alias 'podlan: shim of uplink'
ip link set dev macvlan0 type macvlan mode bridge
set_sysctl net/ipv4/conf/macvlan0/arp_filter 1
set_sysctl net/ipv4/conf/macvlan0/arp_announce 2
set_sysctl net/ipv6/conf/macvlan0/accept_ra 0
set_sysctl net/ipv6/conf/macvlan0/autoconf 0
set_sysctl net/ipv4/conf/macvlan0/send_redirects 0
ip link set dev macvlan0 up
has_address 172.16.129.198/32 macvlan0 ||
    ip address replace 172.16.129.198/32 dev macvlan0
ip route replace 172.16.129.128/28 dev macvlan0 src 172.16.129.198 proto 112
ip link set dev eth0 promisc on
