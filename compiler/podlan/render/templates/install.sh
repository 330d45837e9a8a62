#!/bin/sh
# {{ header }}
# Makes a machine without Python this node: its files, the plugins and, by boot.sh, its network.
set -euf
umask 022
LC_ALL=C
export LC_ALL
unset CDPATH

usage() {
    cat << 'EOF'
usage: sh install.sh [--root DIR] [--dry-run] [--restart]

Puts this directory's files where they belong, as podlan reconcile does, and runs boot.sh. A second run changes nothing.

  --root DIR  write below DIR, run no boot.sh and restart nothing
  --dry-run   say what would be done, and do nothing
  --restart   restart the units that run and read what has changed, but none of the network's
  -h, --help  print this

Exit codes: 0 done, or nothing to do; 1 refused; 2 wrong usage; 4 the environment; 75 not ready, try again
EOF
}

fail() {
    code=$1
    shift
    echo "install.sh: $*" >&2
    exit "$code"
}

root='' preview='' restart=''
while [ $# -gt 0 ]; do
    case $1 in
        --root)
            shift
            root=${1:-}
            [ -n "$root" ] || fail 2 '--root needs a directory'
            ;;
        --dry-run) preview=yes ;;
        --restart) restart=yes ;;
        -h | --help)
            usage
            exit
            ;;
        *) fail 2 "what is $1? --help tells of the options" ;;
    esac
    shift
done
if [ -n "$root" ]; then
    root=$(cd "$root" && pwd -P) || fail 2 '--root is not a directory'
    root=${root%/}
fi
for tool in awk cat cmp env find grep mktemp readlink sed sha256sum stat tr{% if release %} tar{% endif %}; do
    command -v "$tool" > /dev/null || fail 4 "$tool is not installed"
done
me=$(id -u)
[ -n "$root$preview" ] || [ "$me" -eq 0 ] || fail 4 'only root may do that'
here=$(cd "$(dirname "$0")" && pwd -P)

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
trap 'exit 130' HUP INT TERM
cat > "$work/merge.awk" << 'EOF'
{{ merge | plain -}}
EOF
cat > "$work/earlier.awk" << 'EOF'
{{ earlier | plain -}}
EOF

# The directory is this node's, it is whole, and nobody else could write it.
strange=$(find "$here" \( ! -type d ! -type f \) -o -perm -020 -o -perm -002 -o \( ! -user 0 ! -user "$me" \))
[ -z "$strange" ] || fail 4 "others can write $(echo "$strange" | sed 1q), or it is not a plain file"
manifest=$here/manifest.json
[ -f "$manifest" ] || fail 4 "$manifest is missing; name the script in a node's directory as compiled"

# vouched: who may sign for this machine has signed, as podlan reconcile asks too. It keeps out what was never signed;
# of a directory in which somebody changed this very script, only podlan reconcile can tell.
vouched() {
    strange=$(find "${signers%/*/*}" "${signers%/*}" "$signers" -prune \
        \( -type l -o -perm -020 -o -perm -002 -o \( ! -user 0 ! -user "$me" \) \))
    [ -z "$strange" ] || fail 4 "others can write $(echo "$strange" | sed 1q), or it is a symbolic link"
    [ -f "$signers" ] || fail 4 "$signers is not a regular file"
    for keygen in /usr/bin/ssh-keygen /bin/ssh-keygen /usr/local/bin/ssh-keygen; do
        [ ! -x "$keygen" ] || break
    done
    [ -x "$keygen" ] || fail 4 "$signers asks for signatures, and there is no ssh-keygen: install openssh-client"
    [ -f "$manifest.sig" ] || fail 4 "$here is not signed, and $signers asks for it: podlan sign"
    "$keygen" -Y find-principals -s "$manifest.sig" -f "$signers" > "$work/signers" 2> "$work/why" || : > "$work/signers"
    while read -r principal; do
        "$keygen" -Y verify -n podlan -I "$principal" -s "$manifest.sig" -f "$signers" \
            < "$manifest" > /dev/null 2> "$work/why" && return
    done < "$work/signers"
    fail 4 "$manifest.sig is of nobody in $signers who may sign this manifest: $(sed 1q "$work/why")"
}
signers=$root/etc/podlan/allowed_signers
if [ -e "$signers" ] || [ -L "$signers" ]; then vouched; fi

# digests MANIFEST: in the form that sha256sum reads.
digests() { sed -n 's/^    "\(.*\)": "\([0-9a-f]\{64\}\)",\{0,1\}$/\2  \1/p' "$1"; }
digests "$manifest" > "$work/digests"
(cd "$here" && sha256sum -c "$work/digests") > "$work/checked" 2>&1 ||
    fail 4 "$here is not whole: $(grep -v ': OK$' "$work/checked" | sed 1q); deliver it again, as compiled"
names="
$(sed 's/^[0-9a-f]*  //' "$work/digests")
"

# named NAME: the manifest tells of it.
named() {
    case $names in
        *"
$1
"*) ;;
        *) fail 4 "$manifest does not name $1; deliver the directory again, as compiled" ;;
    esac
}
named install.sh

# What podlan put into files before, by the copy that the last run kept.
copy=$root{{ directory }}
if [ ! -e "$copy" ] && [ -d "$copy.podlan-tmp-old" ] && [ -z "$preview" ]; then
    mv "$copy.podlan-tmp-old" "$copy" # a run was killed between two renames
fi
if [ -f "$copy/plan.json" ]; then awk -f "$work/earlier.awk" "$copy/plan.json"; fi > "$work/earlier"
if [ -f "$copy/manifest.json" ]; then digests "$copy/manifest.json"; fi > "$work/earlier-digests"

pending=$root/run/podlan/install-restarts
if [ -z "$preview" ]; then
    mkdir -p "$root/run/podlan"
    if command -v flock > /dev/null; then
        (umask 077 && : >> "$root/run/podlan/lock")
        exec 9>> "$root/run/podlan/lock"
        flock -w 30 9 || fail 75 "another run holds $root/run/podlan/lock"
    fi
fi
doing='' changed='' units=''

# note PATH WHAT: it is done now, or would be. Who must notice is on the disk before, for the run after a killed one.
note() {
    changed=yes
    if [ -n "$doing" ]; then
        echo "+ $2 $root$1"
        case $1 in /etc/systemd/system/*) echo daemon-reload >> "$pending" ;; esac
        for unit in $units; do echo "$unit" >> "$pending"; done
    elif [ -n "$preview" ]; then
        echo "$2 $root$1"
    fi
}

# parents PATH: each is a directory of its own; what is missing is made.
parents() {
    rest=${1#/}
    walked=$root
    while [ "$rest" != "${rest#*/}" ]; do
        walked=$walked/${rest%%/*}
        rest=${rest#*/}
        if [ -L "$walked" ] || { [ -e "$walked" ] && [ ! -d "$walked" ]; }; then
            fail 1 "$walked is not a directory of its own (a symbolic link?)"
        fi
        [ -d "$walked" ] || [ -z "$doing" ] || mkdir -m 0755 "$walked"
    done
}

# plain PATH: nothing is written through what leads elsewhere.
plain() {
    parents "$1"
    [ ! -L "$root$1" ] || fail 1 "$root$1 is a symbolic link, podlan writes through none"
    [ ! -e "$root$1" ] || [ -f "$root$1" ] || fail 1 "$root$1 is not a regular file"
}

# put PATH MODE CONTENT: the whole file at once, its owner kept.
put() {
    plain "$1"
    target=$root$1
    [ -z "$doing" ] || rm -f "$target.podlan-tmp"
    owner=''
    if [ -e "$target" ]; then
        if [ "$(stat -c %a "$target")" = "$2" ] && cmp -s "$3" "$target"; then return; fi
        owner=$(stat -c %u:%g "$target")
    fi
    note "$1" write
    [ -n "$doing" ] || return 0
    (umask 077 && cat "$3" > "$target.podlan-tmp")
    if [ -n "$owner" ] && [ "$owner" != "$(stat -c %u:%g "$target.podlan-tmp")" ]; then
        chown "$owner" "$target.podlan-tmp"
    fi
    chmod "$2" "$target.podlan-tmp"
    mv -f "$target.podlan-tmp" "$target"
}

# gone PATH
gone() {
    note "$1" remove
    [ -z "$doing" ] || rm -f "$root$1"
}

# whole PATH MODE NAME: a file of this directory.
whole() {
    named "$3"
    put "$1" "$2" "$here/$3"
}

# text PATH: a copy of what it holds, nothing where there is none, to be merged with.
text() {
    plain "$1"
    if [ -e "$root$1" ]; then cat "$root$1"; fi > "$work/text"
    [ "$(tr -d '\000' < "$work/text" | wc -c)" -eq "$(wc -c < "$work/text")" ] || fail 1 "$root$1 is not text"
}

# merge PATH NAME=VALUE...: into the text, as merge.awk is told by its environment.
merge() {
    shown=$root$1
    shift
    { cat "$work/text" && printf x; } | env "$@" awk -f "$work/merge.awk" > "$work/merged" 2> "$work/why" ||
        fail 1 "$shown cannot be brought into line: $(cat "$work/why")"
    mv -f "$work/merged" "$work/text"
}

# mixed PATH MODE: the file is others' too, so its mode stays, but for a script that must be able to run.
mixed() {
    mode=$2
    [ ! -e "$root$1" ] || mode=$(printf %o "$((0$(stat -c %a "$root$1") | 0$2 & 0111))")
    put "$1" "$mode" "$work/text"
}

# had PATH FIELD: of the flags that podlan put into a file before, 3 the variable, 4 the flags.
had() { awk -v path="$1" -v field="$2" '$1 == "flag" && $2 == path { print $field }' "$work/earlier"; }

# flags PATH MODE VARIABLE FLAG...: in a file of shell variables.
flags() {
    path=$1 mode=$2 variable=$3
    shift 3
    text "$path"
    before=$(had "$path" 3 | sed 1q)
    dropped=$(had "$path" 4)
    if [ -n "$before" ] && [ "$before" != "$variable" ]; then
        merge "$path" WHAT=flags "VARIABLE=$before" FLAGS= "DROPPED=$dropped"
        dropped=''
    fi
    merge "$path" WHAT=flags "VARIABLE=$variable" "FLAGS=$(printf '%s\n' "$@")" "DROPPED=$dropped"
    mixed "$path" "$mode"
}

# block PATH MODE LINE...: lines between podlan's marks.
block() {
    path=$1 mode=$2 hash_bang=''
    shift 2
    [ "$((0$mode & 0111))" -eq 0 ] || hash_bang=1
    text "$path"
    merge "$path" WHAT=block "BLOCK=$(printf '%s\n' "$@")" "HASH_BANG=$hash_bang"
    mixed "$path" "$mode"
}

# wanted TARGET PATH: the unit is pulled in, as systemctl enable does.
wanted() {
    link=/etc/systemd/system/$1.wants/${2##*/}
    parents "$link"
    [ -z "$doing" ] || rm -f "$root$link.podlan-tmp"
    if [ -L "$root$link" ]; then
        [ "$(readlink "$root$link")" != "$2" ] || return 0
    elif [ -e "$root$link" ]; then
        fail 1 "$root$link is a file, not a symbolic link"
    fi
    note "$link" enable
    [ -n "$doing" ] || return 0
    ln -s "$2" "$root$link.podlan-tmp"
    [ ! -d "$root$link" ] || rm -f "$root$link"
    mv -f "$root$link.podlan-tmp" "$root$link"
}

# planned KIND PATH [TARGET]: it is this plan's.
planned() {
    case "$*" in
{% for words in planned %}
        {{ words }}) return 0 ;;
{% endfor %}
    esac
    return 1
}

# is_file PATH: not a symbolic link to one.
is_file() { [ -f "$root$1" ] && [ ! -L "$root$1" ]; }

# obsolete: what an earlier plan put there, and this one does not, goes, unless somebody else changed it.
obsolete() {
    units='' last=''
    while read -r kind path what _; do
        if [ "$kind" = wants ]; then
            link=/etc/systemd/system/$what.wants/${path##*/}
            planned wants "$path" "$what" || [ "$(readlink "$root$link")" != "$path" ] || gone "$link"
        elif is_file "$path" && ! planned file "$path" && [ "$path" != "$last" ]; then
            last=$path
            "obsolete_$kind" "$path" "$what"
        fi
    done < "$work/earlier"
}

# obsolete_source PATH NAME
obsolete_source() {
    digest=$(awk -v name="$2" '$2 == name { print $1 }' "$work/earlier-digests")
    case $(sha256sum < "$root$1") in
        "$digest "*) gone "$1" ;;
        *) echo "install.sh: $root$1 was changed by others and stays" >&2 ;;
    esac
}

# obsolete_flag PATH VARIABLE
obsolete_flag() {
    text "$1"
    merge "$1" WHAT=flags "VARIABLE=$2" FLAGS= "DROPPED=$(had "$1" 4)"
    mixed "$1" 0
}

# obsolete_block PATH
obsolete_block() {
    text "$1"
    merge "$1" WHAT=block BLOCK= HASH_BANG=
    mixed "$1" 0
}
{% if release %}

# plugins DIRECTORY URL SHA256 NAME...: those that are missing, and podlan's own of another release.
plugins() {
    directory=$1 url=$2 sha256=$3
    shift 3
    for name in "$@"; do
        path=$directory/$name
        outdated "$path" "$sha256" || continue
        if [ -n "$preview" ]; then
            plain "$path"
            note "$path" write
            continue
        fi
        unpacked "$name" "$url" "$sha256"
        if [ -n "$doing" ]; then
            # Before the plugin itself: the run after a killed one must know it for podlan's.
            digest=$(sha256sum < "$work/plugin-$name")
            mkdir -p "${installed%/*}"
            echo "$path ${digest%% *} $sha256" >> "$installed"
        fi
        put "$path" 755 "$work/plugin-$name"
    done
}

# Which plugins podlan brought, a line each: path, their digest, that of the archive.
installed=$root/var/lib/podlan/plugins

# outdated PATH SHA256: it is missing, or came from another archive and is as podlan left it.
outdated() {
    [ -e "$root$1" ] || return 0
    [ -f "$installed" ] && grep -qF "$1 " "$installed" || return 1
    digest=$(sha256sum < "$root$1")
    archive=$(awk -v path="$1" -v digest="${digest%% *}" '$1 == path && $2 == digest { found = $3 } END { print found }' "$installed")
    if [ -z "$archive" ]; then
        [ -n "$doing" ] || echo "install.sh: $root$1 was changed by others and stays" >&2
        return 1
    fi
    [ "$archive" != "$2" ]
}

# unpacked NAME URL SHA256: the binary lies in the working directory.
unpacked() {
    [ ! -e "$work/plugin-$1" ] || return 0
    [ -e "$work/archive" ] || fetch "$2" "$3"
    member=$(grep -xF -e "$1" -e "./$1" "$work/members" | sed 1q)
    [ -n "$member" ] || fail 4 "$2 holds no $1"
    tar "-x${gzip}Of" "$work/archive" "$member" > "$work/plugin-$1" 2> "$work/why" ||
        fail 4 "$1 in $2 cannot be unpacked: $(cat "$work/why")"
    [ -s "$work/plugin-$1" ] || fail 4 "$1 in $2 is not a regular file, or empty"
}

# fetch URL SHA256: nothing of another archive is ever unpacked.
fetch() {
    case $1 in
        file://*) cat "$root${1#file://}" > "$work/archive" || fail 4 "$root${1#file://} cannot be read" ;;
        *)
            if command -v curl > /dev/null; then
                curl -fsSL --max-time 600 -o "$work/archive" "$1" || fail 4 "$1 cannot be had"
            elif command -v wget > /dev/null; then
                wget -q -O "$work/archive" "$1" || fail 4 "$1 cannot be had"
            else
                fail 4 "neither curl nor wget is installed, to get $1"
            fi
            ;;
    esac
    case $(sha256sum < "$work/archive") in
        "$2 "*) ;;
        *) fail 4 "$1 is not the archive that the inventory names: its SHA-256 is another" ;;
    esac
    # busybox's tar must be told of gzip, GNU's finds out.
    gzip=''
    tar -tf "$work/archive" > "$work/members" 2> "$work/why" || gzip=z
    [ -z "$gzip" ] || tar -tzf "$work/archive" > "$work/members" 2> "$work/why" ||
        fail 4 "$1 is not an archive that tar reads: $(cat "$work/why")"
}
{% endif %}

everything() {
{% if release %}
    plugins {{ release.directory }} {{ release.url }} {{ release.sha256 }}{% for name in release.names %} {{ name }}{% endfor %}

{% endif %}
{{ files }}
    obsolete
}

# keep: this directory is what the node has from now on; killed anywhere, the old copy is there or the new one.
keep() {
    parents {{ directory }}
    [ ! -L "$copy" ] || fail 1 "$copy is a symbolic link, podlan writes through none"
    new=$copy.podlan-tmp
    old=$new-old
    rm -rf "$new" "$old"
    [ "$here" != "$copy" ] || return 0
    kept || {
        changed=yes
        echo "+ copy $here to $copy"
        mkdir -m 0755 "$new"
        for name in $names manifest.json manifest.json.sig; do
            [ -e "$here/$name" ] || continue
            case $name in */*) mkdir -p "$new/${name%/*}" ;; esac
            cat "$here/$name" > "$new/$name"
        done
        chmod 0755 "$new/boot.sh"
        [ ! -e "$copy" ] || mv "$copy" "$old"
        mv "$new" "$copy"
        rm -rf "$old"
    }
}

kept() {
    for name in $names manifest.json manifest.json.sig; do
        [ -e "$here/$name" ] || continue
        cmp -s "$here/$name" "$copy/$name" || return 1
    done
    [ -z "$(find "$copy" -perm -020 -o -perm -002)" ]
}

# tell: systemd and its units, or the one who must do it by hand.
tell() {
    [ -s "$pending" ] || return 0
    changed=yes
    awk '!seen[$0]++' "$pending" > "$work/units"
    : > "$work/failed"
    if grep -qx daemon-reload "$work/units"; then told daemon-reload; fi
    while read -r unit; do
        case $unit in
            daemon-reload) ;;
            {{ network_units | plain }})
                echo "install.sh: $unit is a service of the network and is not restarted" >&2
                ;;
            *) told try-restart "$unit" ;;
        esac
    done < "$work/units"
    if [ -s "$work/failed" ]; then cat "$work/failed" > "$pending"; else rm -f "$pending"; fi
}

# told COMMAND [UNIT]
told() {
    if [ -n "$restart" ] && [ -z "$root" ] && [ -d /run/systemd/system ]; then
        echo "+ systemctl $*"
        systemctl "$@" < /dev/null || {
            echo "install.sh: systemctl $* failed; all else is as planned, and the next run tries this again" >&2
            shift $(($# - 1))
            echo "$1" >> "$work/failed"
        }
    else
        echo "to do by hand: systemctl $*"
    fi
}

# needed PROGRAM PATH: the file is of no use without it.
needed() { [ -x "$root$1" ] || echo "install.sh: $root$2 calls $root$1, which is not there" >&2; }

everything # refuses before anything is changed
if [ -n "$preview" ]; then
    [ -n "$changed" ] || echo 'nothing to do'
    exit
fi
doing=yes changed=''
[ -n "$root" ] || /bin/sh "$here/boot.sh"
everything
keep
sync
tell
{% for program, path in needs %}
needed {{ program }} {{ path }}
{% endfor %}
[ -n "$changed" ] || echo 'nothing to do'
