#!/bin/sh
# Written by podlan from the site's inventory: change that and compile, not this file.
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
for tool in awk cat cmp env find grep mktemp readlink sed sha256sum stat tr; do
    command -v "$tool" > /dev/null || fail 4 "$tool is not installed"
done
me=$(id -u)
[ -n "$root$preview" ] || [ "$me" -eq 0 ] || fail 4 'only root may do that'
here=$(cd "$(dirname "$0")" && pwd -P)

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
trap 'exit 130' HUP INT TERM
cat > "$work/merge.awk" << 'EOF'
# A file's text, with an x after it so that its last newline counts, and what podlan wants in it: as podlan-node merges
# the two. WHAT=flags: FLAGS, one a line, in VARIABLE's last assignment, and DROPPED no longer. WHAT=block: the lines of
# BLOCK between podlan's marks; HASH_BANG=1 begins an empty file as a script.
{ text = text (NR > 1 ? "\n" : "") $0 }
END {
    BLANKS = " \t\n\v\f\r\034\035\036\037"
    APOSTROPHE = "\047"
    text = substr(text, 1, length(text) - 1)
    if (ENVIRON["WHAT"] == "flags") merge_flags(ENVIRON["VARIABLE"])
    else merge_block()
    printf "%s", text
}

function refuse(why) {
    print why > "/dev/stderr"
    exit 1
}

function is_blank(character) { return character != "" && index(BLANKS, character) > 0 }

function stripped(string) {
    while (is_blank(substr(string, length(string), 1))) string = substr(string, 1, length(string) - 1)
    return string
}

# The last assignment, which counts: its value and quote, and where both begin and end. A text in which there may be one
# that is not seen is refused.
function find(variable,    at, line, rest, continues, end, comment) {
    found = 0
    for (at = 1; at <= length(text); at = end + 1) {
        line = line_at(at)
        comment = ""
        if (match(line, /^[ \t]*(export[ \t]+)?[A-Za-z_][A-Za-z0-9_]*[ \t]*=[ \t]*/)) {
            end = at + RLENGTH
            rest = substr(line, 1, RLENGTH)
            if (name_assigned(rest) == variable) {
                if (continues) refuse("the comment above " variable "= ends in a backslash")
                if (rest ~ /^[ \t]*export[ \t]/) refuse("systemd does not read a line with export; take the word from it")
                found = 1
                read_value(end, variable)
                end = end_of_line(value_end)
            } else {
                rest = substr(text, end, 1)
                if (rest == "\"" || rest == APOSTROPHE) {
                    end = end_of_quoted(end)
                    if (!end) refuse("a quote is never closed")
                }
                rest = end
                end = end_of_line(rest)
                refuse_mention(variable, rest, end)
            }
        } else if (match(line, /^[ \t]*[#;]/)) {
            comment = line
            end = at + length(line)
        } else {
            end = end_of_line(at)
            refuse_mention(variable, at, end)
        }
        sub(/\r+$/, "", comment)
        continues = comment ~ /\\$/
    }
}

function line_at(at,    here) {
    here = index(substr(text, at), "\n")
    return here ? substr(text, at, here - 1) : substr(text, at)
}

function name_assigned(line) {
    sub(/[ \t]*=[ \t]*$/, "", line)
    sub(/^[ \t]*/, "", line)
    sub(/^export[ \t]+/, "", line)
    return line
}

# Where a line ends that begins here, with the ones that continue it.
function end_of_line(at) {
    while (match(substr(text, at), /[\\\n]/)) {
        at += RSTART - 1
        if (substr(text, at, 1) == "\n") return at
        at += at < length(text) ? 2 : 1
    }
    return length(text) + 1
}

# Behind the quote that closes the one here; 0 where there is none.
function end_of_quoted(at,    opened, character) {
    opened = substr(text, at, 1)
    while ((character = substr(text, ++at, 1)) != opened) {
        if (character == "\\" && opened == "\"") character = substr(text, ++at, 1)
        if (character == "") return 0
    }
    return at + 1
}

function refuse_mention(variable, start, end,    at, here, behind) {
    for (at = start; here = index(substr(text, at, end - at), variable); at += here) {
        behind = substr(text, at + here - 1 + length(variable), end - (at + here - 1 + length(variable)))
        if (behind ~ /^\+?=/ && (at + here < 3 || substr(text, at + here - 2, 1) !~ /[A-Za-z0-9_]/))
            refuse(variable " is assigned in a way that podlan does not read")
    }
}

function read_value(start, variable,    at, character, before, behind) {
    value_start = start
    quote = substr(text, start, 1)
    if (quote == "\"" || quote == APOSTROPHE) {
        value_end = end_of_quoted(start)
        if (!value_end) refuse("the value of " variable " has a quote that is never closed")
        value = substr(text, start + 1, value_end - start - 2)
        behind = substr(text, value_end, end_of_line(value_end) - value_end)
        if (behind !~ /^[ \t\r]*(;|$)/ && behind !~ /^[ \t\r]*[ \t]#/)
            refuse("the value of " variable " is quoted in pieces")
    } else {
        quote = ""
        value = stripped(substr(text, start, end_of_line(start) - start))
        value_end = start + length(value)
        for (at = 1; at <= length(value); at++) {
            character = substr(value, at, 1)
            if (character == "\\" && substr(value, at + 1, 1) == "\n") at++
            else if (index("\\\"`;&|<>()" APOSTROPHE, character) || (character == "#" && before ~ /[ \t]/))
                refuse("the value of " variable " would mean something else within quotes")
            before = substr(value, at, 1)
        }
    }
    for (at = 1; at <= length(value); at++) {
        character = substr(value, at, 1)
        # Which of these are blanks, only podlan-node knows.
        if (character > "~" && character != "\177") refuse("the value of " variable " is not ASCII")
    }
}

function merge_flags(variable,    count, flags, dropped, number, old, other, known, merged) {
    count = split(ENVIRON["FLAGS"], flags, "\n")
    for (number = 1; number <= count; number++) {
        if (flags[number] !~ /^-/ || flags[number] ~ /[ \t\n\v\f\r"\\$`#;&|<>()]/ || index(flags[number], APOSTROPHE))
            refuse("flag " flags[number] " cannot stand in a shell variable")
        known[name_of(flags[number])] = 1
    }
    find(variable)
    if (!found) {
        for (number = 1; number <= count; number++) merged = merged (number > 1 ? " " : "") flags[number]
        if (count) append(variable "=\"" merged "\"")
        return
    }
    merged = value
    other = split(ENVIRON["DROPPED"], dropped, "\n")
    for (number = 1; number <= other; number++)
        if (!(name_of(dropped[number]) in known)) merged = without(merged, dropped[number])
    for (number = 1; number <= count; number++) merged = with(merged, flags[number])
    if (merged == value "") return
    if (quote == "") quote = "\""
    text = substr(text, 1, value_start - 1) quote merged quote substr(text, value_end)
}

function newline() { return index(text, "\r\n") ? "\r\n" : "\n" }

function append(line,    ending, last) {
    ending = newline()
    if (text != "" && substr(text, length(text)) != "\n") text = text ending
    last = text
    sub(/[\r\n]+$/, "", last)
    if (last ~ /\\$/) text = text ending # else the last line would continue on ours
    text = text line ending
}

# Kubernetes' flags take '_' for '-'.
function name_of(flag) {
    if (index(flag, "=")) flag = substr(flag, 1, index(flag, "=") - 1)
    gsub(/_/, "-", flag)
    return flag
}

# The words of a value as systemd splits it, from word_start to before word_end, and as the program gets them.
function split_words(string,    at, step, pair, character, start, word, inner, escaped) {
    words = start = 0
    for (at = 1; at <= length(string) + 1; at += step) {
        pair = substr(string, at, 2)
        character = at > length(string) ? " " : substr(pair, 1, 1)
        step = 1
        if (pair == "\\\n" && quote != APOSTROPHE) {
            step = 2
            continue
        }
        if (quote == "\"" && character == "\\" && length(pair) > 1 && index("\"\\$`", substr(pair, 2))) {
            character = substr(pair, 2)
            step = 2
        }
        if (!escaped && inner == "" && is_blank(character)) {
            if (start) {
                word_start[++words] = start
                word_end[words] = at
                word_text[words] = word
            }
            start = 0
            word = ""
            continue
        }
        if (!start) start = at
        if (escaped) {
            escaped = 0
            word = word character
        } else if (character == "\\" && inner != APOSTROPHE) escaped = 1
        else if (inner == "" ? character == "\"" || character == APOSTROPHE : character == inner)
            inner = inner == "" ? character : ""
        else word = word character
    }
    if (start) refuse("a quote inside the value is never closed")
}

function with(string, flag,    number, count, last, one, following, starts, ends) {
    split_words(string)
    for (number = 1; number <= words; number++) {
        one = word_text[number]
        if (one !~ /^-/ || name_of(one) != name_of(flag)) continue
        last = word_end[number]
        if (index(flag, "=") && !index(one, "=") && number < words) {
            following = word_text[number + 1]
            if (following !~ /^-/ || following ~ /^-[0-9]/) last = word_end[number + 1]
        }
        starts[++count] = word_start[number]
        ends[count] = last
    }
    if (!words) return flag
    if (!count) return string (word_end[words] > length(string) ? " " : "") flag
    for (number = count; number > 1; number--) string = cut(string, starts[number], ends[number])
    return substr(string, 1, starts[1] - 1) flag substr(string, ends[1])
}

function without(string, flag,    number) {
    split_words(string)
    for (number = words; number >= 1; number--)
        if (word_text[number] == flag "") string = cut(string, word_start[number], word_end[number])
    return string
}

function cut(string, start, end) {
    if (substr(string, end, 1) == " ") end++
    else if (start > 1 && substr(string, start - 1, 1) == " ") start--
    return substr(string, 1, start - 1) substr(string, end)
}

function merge_block(    block, count, lines, number, at, begins, ends, start, end, last, final) {
    if (ENVIRON["BLOCK"] != "") block = "# BEGIN podlan\n" ENVIRON["BLOCK"] "\n# END podlan\n"
    count = split(text, lines, "\n")
    at = 1
    for (number = 1; number <= count; number++) {
        if (lines[number] ~ /^# BEGIN podlan[ \t\r]*$/) {
            begins++
            start = at
        }
        at += length(lines[number]) + 1
        if (lines[number] ~ /^# END podlan[ \t\r]*$/) {
            ends++
            end = at
        }
    }
    if (begins || ends) {
        if (begins != 1 || ends != 1 || end <= start)
            refuse("the marks of podlan's block do not stand there once each, in this order")
        text = substr(text, 1, start - 1) block substr(text, end)
        return
    }
    if (block == "") return
    if (text == "") {
        text = (ENVIRON["HASH_BANG"] ? "#!/bin/sh\n" : "") block
        return
    }
    if (substr(text, length(text)) != "\n") text = text "\n"
    count = split(text, lines, "\n")
    at = 1
    for (number = 1; number <= count; number++) {
        if (stripped(lines[number]) != "") {
            last = number
            final = at
        }
        at += length(lines[number]) + 1
    }
    if (!last || lines[last] !~ /^[ \t]*exit[ \t]+0[ \t]*(#.*)?$/) final = length(text) + 1
    text = substr(text, 1, final - 1) block substr(text, final)
}
EOF
cat > "$work/earlier.awk" << 'EOF'
# What the plan that this node had before put into files, a line each: "source PATH SOURCE", "flag PATH VARIABLE FLAG",
# "block PATH", "wants PATH TARGET". It reads plan.json in the form in which podlan writes it.
function value(line) {
    sub(/^ *("[A-Za-z0-9]*": )?"/, "", line)
    sub(/",?$/, "", line)
    return line
}
/^  "files": \[/ { files = 1 }
/^  \]/ { files = 0 }
!files { next }
/^    \{/ { path = list = "" }
/^      "path": "/ { path = value($0) }
/^      "source": "/ { print "source " path " " value($0) }
/^        "variable": "/ { variable = value($0) }
/^        "flags": \[/ { list = "flags"; next }
/^      "block": \[/ { print "block " path }
/^      "wantedBy": \[/ { list = "wants"; next }
/^ *\]/ { list = "" }
list == "flags" { print "flag " path " " variable " " value($0) }
list == "wants" { print "wants " path " " value($0) }
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
copy=$root/etc/podlan/node
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
        'file /etc/cni/net.d/05-podlan.conflist') return 0 ;;
        'file /etc/kubernetes/kubelet.conf.d/20-podlan.conf') return 0 ;;
        'file /etc/default/kubelet') return 0 ;;
        'file /etc/sysctl.d/zz-podlan.conf') return 0 ;;
        'file /etc/systemd/networkd.conf.d/20-podlan.conf') return 0 ;;
        'file /etc/systemd/network/05-podlan-macvlan0.network') return 0 ;;
        'file /etc/NetworkManager/conf.d/20-podlan.conf') return 0 ;;
        'file /etc/systemd/system/podlan-reconcile.service') return 0 ;;
        'wants /etc/systemd/system/podlan-reconcile.service multi-user.target') return 0 ;;
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

everything() {
    units=''
    whole /etc/cni/net.d/05-podlan.conflist 644 rootfs/etc/cni/net.d/05-podlan.conflist
    units=kubelet.service
    whole /etc/kubernetes/kubelet.conf.d/20-podlan.conf 644 rootfs/etc/kubernetes/kubelet.conf.d/20-podlan.conf
    units=kubelet.service
    flags /etc/default/kubelet 644 KUBELET_EXTRA_ARGS --node-ip=172.16.129.103 --config-dir=/etc/kubernetes/kubelet.conf.d
    units=''
    whole /etc/sysctl.d/zz-podlan.conf 644 rootfs/etc/sysctl.d/zz-podlan.conf
    units=''
    whole /etc/systemd/networkd.conf.d/20-podlan.conf 644 rootfs/etc/systemd/networkd.conf.d/20-podlan.conf
    units=''
    whole /etc/systemd/network/05-podlan-macvlan0.network 644 rootfs/etc/systemd/network/05-podlan-macvlan0.network
    units=''
    whole /etc/NetworkManager/conf.d/20-podlan.conf 644 rootfs/etc/NetworkManager/conf.d/20-podlan.conf
    units=''
    whole /etc/systemd/system/podlan-reconcile.service 644 rootfs/etc/systemd/system/podlan-reconcile.service
    wanted multi-user.target /etc/systemd/system/podlan-reconcile.service
    obsolete
}

# keep: this directory is what the node has from now on; killed anywhere, the old copy is there or the new one.
keep() {
    parents /etc/podlan/node
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
            networking | networking.service | network | network.service | NetworkManager | NetworkManager.service | systemd-networkd | systemd-networkd.service | wicked | wicked.service | dhcpcd | dhcpcd.service | netplan | netplan.service)
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
[ -n "$changed" ] || echo 'nothing to do'
