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

told=''
# tell WORDS...: what was done, as the command that does it.
tell() {
    told=yes
    printf '%s\n' "+ $*"
}

# run WORDS...: for ip, and told.
run() {
    "$ip" "$@" || return
    tell ip "$@"
}

# set_sysctl PATH VALUE: a path that is not there belongs to a protocol that this kernel has switched off.
set_sysctl() {
    [ -e "/proc/sys/$1" ] || return 0
    had=''
    # Byte by byte, as most shells read, there is no more than the first one: of the values here that is all.
    { read -r had < "/proc/sys/$1"; } 2> /dev/null || :
    { echo "$2" > "/proc/sys/$1"; } 2> /dev/null || [ "$(cat "/proc/sys/$1")" = "$2" ] || {
        echo "boot.sh: /proc/sys/$1 cannot be set to $2" >&2
        exit 1
    }
    case $2 in
        "$had"*) ;;
        *) tell sysctl -q -w "$1=$2" ;;
    esac
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

# look: at what is there before any change. As a batch, which no other ip knows: so it also tells whether it is iproute2's.
# Links come last: after them this ip would show links again, whatever it was asked for.
look() {
    seen=$("$ip" -o -batch - 2> /dev/null << 'EOF'
address show dev eth0 -dadfailed
route show table all proto 112
link show dev eth0
EOF
    )
}

# is_on_a_master ADDRESS: with any prefix length, and no other machine has it.
is_on_a_master() {
    look || return
    case $seen in
        *" $1/"*) return 0 ;;
    esac
    return 1
}
# A machine without the node's own addresses is another node, or not up yet.
wait_for '172.16.129.102 of node-2' is_on_a_master 172.16.129.102

newline='
'
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
    found=$("$ip" -d -o link show dev "$2" 2> /dev/null) || return 0
    parent=${found#*: }
    parent=${parent%%: *}
    own_name "$1"
    [ "${parent#*@}" != "$name" ] || return 0
    case $found in
        *" alias podlan: "*) run link delete dev "$2" ;;
        *)
            echo "boot.sh: $2 is there, and no child of $1" >&2
            exit 1
            ;;
    esac
}

# macvlan MASTER NAME MODE ALIAS MAC MTU
macvlan() {
    found=''
    [ ! -d "/proc/sys/net/ipv4/conf/$2" ] || only_child_of "$1" "$2"
    if [ -d "/proc/sys/net/ipv4/conf/$2" ]; then
        seen="$seen$newline$found"
    else
        add_macvlan "$@" 2> /dev/null || {
            only_child_of "$1" "$2" # it may be the second name of one
            add_macvlan "$@"
        }
        made="$made$2 "
        found=''
    fi
    case "$found\\" in
        *"${6:+ mtu $6 }"*"${5:+/ether $5 }"*" mode $3 "*" alias $4\\"*) ;;
        *) run link set dev "$2" ${5:+address "$5"} ${6:+mtu "$6"} alias "$4" type macvlan mode "$3" ;;
    esac
}
add_macvlan() {
    run link add link "$1" name "$2" ${5:+address "$5"} ${6:+mtu "$6"} type macvlan mode "$3"
}

todo='' new=''

# line WORDS...: of the one batch at the end; what `is_new` is told after it.
line() {
    todo="$todo$*$newline"
    [ -z "$is_new" ] || new="$new+ ip $*$newline"
}

# has_flag INTERFACE FLAG: it had it when this began.
has_flag() {
    case $made in *" $1 "*) return 1 ;; esac
    flags=${seen#*: "$1"[:@]}
    if [ "$flags" = "$seen" ]; then # a second name
        flags=$seen$newline
        flags=${flags%%" altname $1"[\\"$newline"]*}
        flags=${flags##*"$newline"}
    fi
    flags=${flags#*<}
    case ",${flags%%>*}," in
        *",$2,"*) return 0 ;;
    esac
    return 1
}

# up INTERFACE
up() {
    is_new=yes
    ! has_flag "$1" UP || is_new=''
    line link set dev "$1" up
}

# address ADDRESS INTERFACE METRIC [nodad]: what is there stays; to set it again would end the lease that DHCP gave it.
address() {
    ! has_address "$1" "$2" "$3" || return 0
    is_new=yes
    line address replace "$1" dev "$2" ${3:+metric "$3"} ${4:+"$4"}
}

# route DESTINATION GATEWAY INTERFACE SOURCE METRIC
route() {
    case $1 in
        0.0.0.0/0 | ::/0) shown=default ;;
        *:*) shown=${1%/128} ;;
        *) shown=${1%/32} ;;
    esac
    shown="$shown${2:+ via $2} dev $3"
    case $1 in
        *:*) shown="$shown${4:+ src $4} metric ${5:-1024} pref medium" ;;
        *)
            [ -n "$2" ] || shown="$shown scope link"
            shown="$shown${4:+ src $4}${5:+ metric $5} "
            ;;
    esac
    is_new=yes
    case $newline$seen$newline in
        *"$newline$shown$newline"*) is_new='' ;;
    esac
    case $made in *" $3 "*) is_new=yes ;; esac
    line route replace "$1" ${2:+via "$2"} dev "$3" ${4:+src "$4"} ${5:+metric "$5"} proto 112
}

# promisc INTERFACE on|off
promisc() {
    is_new=yes
    if has_flag "$1" PROMISC; then had=on; else had=off; fi
    [ "$had" != "$2" ] || is_new=''
    line link set dev "$1" promisc "$2"
}

macvlan eth0 macvlan0 bridge 'podlan: shim of uplink' 02:70:ac:10:81:c6 ''
set_sysctl net/ipv4/conf/macvlan0/arp_filter 1
set_sysctl net/ipv4/conf/macvlan0/arp_announce 2
set_sysctl net/ipv6/conf/macvlan0/accept_ra 0
set_sysctl net/ipv6/conf/macvlan0/autoconf 0
set_sysctl net/ipv4/conf/macvlan0/send_redirects 0

up macvlan0
address 172.16.129.198/32 macvlan0 ''
route 172.16.129.128/28 '' macvlan0 172.16.129.198 ''
promisc eth0 on
[ -z "$todo" ] || "$ip" -batch - << EOF
$todo
EOF
printf %s "$new"
told=$told$new
[ -n "$told" ] || echo '# nothing to do: the network is as planned'
