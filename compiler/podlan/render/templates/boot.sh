{% macro route_line(route) %}
route replace {{ route.destination | batch }}{% if route.gateway %} via {{ route.gateway | batch }}{% endif %} dev {{ route.link | batch }}
{%- if route.source %} src {{ route.source | batch }}{% endif %}
{% if route.metric %} metric {{ route.metric | batch }}{% endif %} proto {{ protocol }}
{%- endmacro %}
{# In parts, so that those which most nodes have in common are rendered once. #}
{% macro opening(awaited, is_known) %}
#!/bin/sh
# {{ header }}
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
{% if not is_known %}
require_iproute2
{% endif %}

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

{% for name in awaited %}
wait_for {{ name }} is_there {{ name }}
{% endfor %}
{% if is_known %}

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
{% endif %}
{% endmacro %}
{% macro identity(node, addresses, masters) %}
{% for address in addresses %}
wait_for {{ address ~ " of " ~ node }} is_on {{ address }}{% for name in masters %} {{ name }}{% endfor %}

{% endfor %}
{% endmacro %}
{% macro preparing(adopted, vlans, altnames, early, has_addresses, has_children) %}
{% if has_addresses %}

made=' ' # by this run, so without addresses

# has_address ADDRESS INTERFACE [METRIC]
has_address() {
    case $made in *" $2 "*) return 1 ;; esac
    case $("$ip" -o address show dev "$2" 2> /dev/null) in
        *" $1 ${3:+metric $3 }"*) return 0 ;;
    esac
    return 1
}
{% endif %}
{% for address in adopted %}
wait_for {{ address.address }} has_address {{ address.address }} {{ address.link }}
{% endfor %}
{% if vlans %}

# vlan LINK NAME ID ALIAS MTU: what fits and is others' stays as it is. No other one goes: pods may be on it.
vlan() {
    if found=$("$ip" -d -o link show dev "$2" 2> /dev/null); then
        parent=$("$ip" -o link show dev "$1")
        parent=${parent#*: }
        parent=${parent%%: *}
        name=${found#*: }
        name=${name%%: *}
        case "${name#*@} $found " in
            "${parent%@*} "*" vlan "*" id $3 "*) ;;
            *)
                echo "boot.sh: $2 is there, and is not VLAN $3 of $1; remove it when no pods are on it, or reboot" >&2
                exit 1
                ;;
        esac
        case $found in
            *" alias podlan: "*) ;;
            *) return 0 ;;
        esac
    else
        "$ip" link add link "$1" name "$2" type vlan id "$3"
    fi
    "$ip" link set dev "$2" alias "$4"
    [ -z "$5" ] || "$ip" link set dev "$2" mtu "$5"
}
{% for link in vlans %}
vlan {{ link.master }} {{ link.name }} {{ link.vlan }} {{ link.alias }} {{ link.mtu or "" }}
{% endfor %}
{% endif %}
{% if altnames %}

# name_too INTERFACE NAME: an older kernel, or iproute2, knows no second names.
name_too() {
    case "$("$ip" -o link show dev "$1")\\" in
        *" altname $2\\"*) ;;
        *) "$ip" link property add dev "$1" altname "$2" || echo "boot.sh: $1 cannot be named $2 as well" >&2 ;;
    esac
}
{% for name, altname in altnames %}
name_too {{ name }} {{ altname }}
{% endfor %}
{% endif %}
{% if early or has_children %}

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
{% endif %}
{% if early %}
{% for before, interface, after, value in early %}
{% if interface %}
own_name {{ interface }}
set_sysctl {{ before }}"$name"{{ after }} {{ value }}
{% else %}
set_sysctl {{ before }} {{ value }}
{% endif %}
{% endfor %}
{% endif %}
{% if has_children %}

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
{% endif %}
{% endmacro %}
{% macro creating(children, has_addresses) %}
{% for link in children %}

[ ! -d {{ "/proc/sys/net/ipv4/conf/" ~ link.name }} ] || only_child_of {{ link.master }} {{ link.name }}
if [ ! -d {{ "/proc/sys/net/ipv4/conf/" ~ link.name }} ]; then
{% if has_addresses %}
    made="$made"{{ link.name ~ " " }}
{% endif %}
    add() {
        "$ip" link add link {{ link.master }} name {{ link.name }}{% if link.mac %} address {{ link.mac }}{% endif %}{% if link.mtu %} mtu {{ link.mtu }}{% endif %} type macvlan mode {{ link.mode }}
    }
    add 2> /dev/null || {
        only_child_of {{ link.master }} {{ link.name }} # it may be the second name of one
        add
    }
fi
"$ip" link set dev {{ link.name }}{% if link.mac %} address {{ link.mac }}{% endif %}{% if link.mtu %} mtu {{ link.mtu }}{% endif %} alias {{ link.alias }} type macvlan mode {{ link.mode }}
{% endfor %}
{% endmacro %}
{% macro settings(late) %}
{% for path, value in late %}
set_sysctl {{ path }} {{ value }}
{% endfor %}
{% endmacro %}
{% macro addressing(links, addresses, fallbacks, routes, promisc) %}
{% if addresses %}

# What is there already is a comment below: to set it again would end the lease that DHCP gave an address.
{% endif %}
{% for address in addresses %}
if has_address {{ address.address }} {{ address.link }}{% if address.metric %} {{ address.metric }}{% endif %}; then there{{ loop.index }}='# '; else there{{ loop.index }}=; fi
{% endfor %}

{% if routes or fallbacks or addresses or links or promisc %}
{# Whoever dies between two of these lines leaves a node that is still reached: the fallback comes first. #}
"$ip" -batch - << EOF
{% for route in fallbacks %}
{{ route_line(route) | plain }}
{% endfor %}
{% for link in links %}
link set dev {{ link.name | batch }} up
{% endfor %}
{% for address in addresses %}
${there{{ loop.index }}}address replace {{ address.address | batch }} dev {{ address.link | batch }}{% if address.metric %} metric {{ address.metric | batch }}{% endif %}{{ (" nodad" if ":" in address.address else "") | plain }}
{% endfor %}
{% for route in routes %}
{{ route_line(route) | plain }}
{% endfor %}
{% for link in promisc %}
link set dev {{ link.name | batch }} promisc {{ "on" if link.promisc else "off" }}
{% endfor %}
EOF
{% endif %}
{% endmacro %}
