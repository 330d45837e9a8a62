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
