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
