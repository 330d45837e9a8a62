{% macro route_line(route) %}
ip route replace {{ route.destination }}{% if route.gateway %} via {{ route.gateway }}{% endif %} dev {{ route.link }}
{%- if route.source %} src {{ route.source }}{% endif %}
{% if route.metric %} metric {{ route.metric }}{% endif %} proto {{ protocol }}
{%- endmacro %}
#!/bin/sh
# {{ header }}
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

{% for link in masters %}
wait_for {{ link.name }} ip link show dev {{ link.name }}
{% endfor %}
{% if plan.identity %}

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
{% for address in plan.identity %}
wait_for {{ address ~ " of " ~ plan.node }} is_on {{ address }}{% for link in masters %} {{ link.name }}{% endfor %}

{% endfor %}
{% endif %}
{% if plan.addresses %}

# has_address ADDRESS INTERFACE [METRIC]
has_address() { ip -o address show dev "$2" 2> /dev/null | grep -qF " $1 ${3:+metric $3 }"; }
{% endif %}
{% for address in adopted %}
wait_for {{ address.address }} has_address {{ address.address }} {{ address.link }}
{% endfor %}
{% if early %}

{% for path, value in early %}
set_sysctl {{ path }} {{ value }}
{% endfor %}
{% endif %}
{% for link in children %}

if ! ip link show dev {{ link.name }} > /dev/null 2>&1; then
    ip link add link {{ link.master }} name {{ link.name }} address {{ link.mac }} type macvlan mode {{ link.mode }}
fi
ip link set dev {{ link.name }} address {{ link.mac }} alias {{ link.alias }}
ip link set dev {{ link.name }} type macvlan mode {{ link.mode }}
{% endfor %}
{% for path, value in late %}
set_sysctl {{ path }} {{ value }}
{% endfor %}
{# Whoever dies between two of these lines leaves a node that is still reached: the fallback comes first. #}
{% for route in fallbacks %}
{{ route_line(route) | plain }}
{% endfor %}
{% for link in children %}
ip link set dev {{ link.name }} up
{% endfor %}
{% for address in own + adopted %}
has_address {{ address.address }} {{ address.link }}{% if address.metric %} {{ address.metric }}{% endif %} ||
    ip address replace {{ address.address }} dev {{ address.link }}{% if address.metric %} metric {{ address.metric }}{% endif %}

{% endfor %}
{% for route in routes %}
{{ route_line(route) | plain }}
{% endfor %}
{% for link in masters if link.promisc is not none %}
ip link set dev {{ link.name }} promisc {{ "on" if link.promisc else "off" }}
{% endfor %}
