#!/bin/sh
# Written by podlan from the site's inventory: change that and compile, not this file.
# The network state of this node with sh and iproute2 alone; a second run changes nothing.
set -eu

# By its path: the ip of busybox knows no macvlan, and a busybox sh may prefer its own to what is on PATH.
for ip in /sbin/ip /usr/sbin/ip /bin/ip /usr/bin/ip; do
    [ ! -x "$ip" ] || break
done

require_iproute2() {
    case $("$ip" -V 2> /dev/null) in
        *iproute2*) ;;
        *)
            echo "boot.sh: iproute2 is not installed" >&2
            exit 4
            ;;
    esac
}

# set_sysctl PATH VALUE: a path that is not there belongs to a protocol that this kernel has switched off.
set_sysctl() {
    [ -e "/proc/sys/$1" ] || return 0
    { echo "$2" > "/proc/sys/$1"; } 2> /dev/null || [ "$(cat "/proc/sys/$1")" = "$2" ] || {
        echo "boot.sh: /proc/sys/$1 cannot be set to $2" >&2
        exit 1
    }
}

# is_there INTERFACE: by its own name, as /proc knows it without another process, or by a second one.
is_there() { [ -d "/proc/sys/net/ipv4/conf/$1" ] || "$ip" link show dev "$1" > /dev/null 2>&1; }

# wait_for WHAT COMMAND...: the operating system brings interfaces and addresses up in its own time.
wait_for() {
    what=$1
    shift
    tries=60
    until "$@"; do
        require_iproute2
        tries=$((tries - 1))
        if [ "$tries" -le 0 ]; then
            echo "boot.sh: $what is not there" >&2
            exit 75
        fi
        sleep 1
    done
}

wait_for eth0 is_there eth0

# is_on ADDRESS INTERFACE...: one of them has it, with any prefix length, and no other machine.
is_on() {
    address=$1
    shift
    for interface in "$@"; do
        # As a batch, which no other ip knows: so the first look, before any change, tells whether it is iproute2's.
        found=$("$ip" -o -batch - 2> /dev/null << EOF
address show dev $interface -dadfailed
EOF
        ) || continue
        case $found in
            *" $address/"*) return 0 ;;
        esac
    done
    return 1
}
# A machine without the node's own addresses is another node, or not up yet.
wait_for '172.16.129.101 of node-1' is_on 172.16.129.101 eth0

made=' ' # by this run, so without addresses

# has_address ADDRESS INTERFACE [METRIC]
has_address() {
    case $made in *" $2 "*) return 1 ;; esac
    case $("$ip" -o address show dev "$2" 2> /dev/null) in
        *" $1 ${3:+metric $3 }"*) return 0 ;;
    esac
    return 1
}

# own_name INTERFACE
own_name() {
    name=$1
    if [ ! -d "/proc/sys/net/ipv4/conf/$1" ]; then
        name=$("$ip" -o link show dev "$1")
        name=${name#*: }
        name=${name%%: *}
        name=${name%@*}
    fi
}
own_name eth0
set_sysctl net/ipv4/conf/"$name"/arp_filter 1
set_sysctl net/ipv4/ip_forward 1
set_sysctl net/ipv4/conf/all/send_redirects 0

# only_child_of MASTER CHILD: podlan's own child of another interface goes, and nobody else's.
only_child_of() {
    found=$("$ip" -o link show dev "$2" 2> /dev/null) || return 0
    parent=${found#*: }
    parent=${parent%%: *}
    own_name "$1"
    [ "${parent#*@}" != "$name" ] || return 0
    case $found in
        *" alias podlan: "*) "$ip" link delete dev "$2" ;;
        *)
            echo "boot.sh: $2 is there, and no child of $1" >&2
            exit 1
            ;;
    esac
}

[ ! -d /proc/sys/net/ipv4/conf/macvlan0 ] || only_child_of eth0 macvlan0
if [ ! -d /proc/sys/net/ipv4/conf/macvlan0 ]; then
    made="$made"'macvlan0 '
    add() {
        "$ip" link add link eth0 name macvlan0 address 02:70:ac:10:81:c7 type macvlan mode bridge
    }
    add 2> /dev/null || {
        only_child_of eth0 macvlan0 # it may be the second name of one
        add
    }
fi
"$ip" link set dev macvlan0 address 02:70:ac:10:81:c7 alias 'podlan: shim of uplink' type macvlan mode bridge
set_sysctl net/ipv4/conf/macvlan0/arp_filter 1
set_sysctl net/ipv4/conf/macvlan0/arp_announce 2
set_sysctl net/ipv6/conf/macvlan0/accept_ra 0
set_sysctl net/ipv6/conf/macvlan0/autoconf 0
set_sysctl net/ipv4/conf/macvlan0/send_redirects 0

# What is there already is a comment below: to set it again would end the lease that DHCP gave an address.
if has_address 172.16.129.199/32 macvlan0; then there1='# '; else there1=; fi

"$ip" -batch - << EOF
link set dev macvlan0 up
${there1}address replace 172.16.129.199/32 dev macvlan0
route replace 172.16.129.110/31 dev macvlan0 src 172.16.129.199 proto 112
route replace 172.16.129.112/29 dev macvlan0 src 172.16.129.199 proto 112
link set dev eth0 promisc on
EOF
