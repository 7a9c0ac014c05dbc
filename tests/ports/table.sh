# shellcheck shell=bash
# shellcheck disable=SC2154 # scripts/ports sets the variables
# The results of scripts/ports. Each port has a file of lines KEY=VALUE in $ports/results.

# value PORT KEY: the value of a key of a port's result.
value() {
    sed -n "s/^$2=//p" "$ports/results/$1"
}

# count LOG FIELD: the sum of a field of the lines "port: KIND NAME ...": 4 is the number of passed
# tests, 5 of failed and 6 of ignored ones.
count() {
    awk -v field="$2" '$1 == "port:" && NF == 7 { sum += $field }
        END { print sum + 0 }' "$1"
}

# record PORT LOG SECONDS: writes the result of a port from the log of its run. Fails unless all
# tests have run and passed.
record() {
    local port=$1 log=$2 passed failed
    passed=$(count "$log" 4)
    failed=$(count "$log" 5)
    grep -q '^port: end$' "$log" || failed=$((failed + 1))
    [ "$passed" -gt 0 ] || failed=$((failed + 1))
    mkdir -p "$ports/results"
    {
        echo "commit=$commit"
        echo "version=$(scripts/version)"
        echo "date=$(date -u +%Y-%m-%d)"
        echo "short=$short"
        echo "summary=$summary"
        sed -n 's/^port: kernel /kernel=/p; s/^port: page /page=/p' "$log" | head -n 2
        cat "$out/versions"
        echo "processor=$processor"
        echo "passed=$passed"
        echo "failed=$failed"
        echo "ignored=$(count "$log" 6)"
        echo "repeated=$(grep -c '^port: repeated ' "$log" || :)"
        echo "seconds=$3"
    } >"$ports/results/$port"
    # The second line has the user and the system time of all processes, as 1m2.003s.
    times >"$out/times"
    echo "ports: $port: $passed passed, $failed failed, $(count "$log" 6) left out, $3 s," \
        "processor time $(tail -n 1 "$out/times")"
    [ "$failed" -eq 0 ]
}

# table PORT...: prints the results as a table of Markdown. Fails if they are of several commits.
table() {
    local port first=$1 status=0
    for port in "$@"; do
        if [ "$(value "$port" commit)" != "$(value "$first" commit)" ]; then
            echo "ports: the results of $first and $port are of different commits" >&2
            status=1
        fi
    done
    echo "unixipc $(value "$first" version), commit $(value "$first" commit)."
    echo
    echo '| port | system | kernel, pages | C library | Rust | processor | date | passed | repeated | failed | left out |'
    echo '|---|---|---|---|---|---|---|---|---|---|---|'
    for port in "$@"; do
        printf '| %s | %s | %s, %s | %s | %s | %s | %s | %s | %s | %s | %s |\n' "$port" \
            "$(value "$port" summary)" "$(value "$port" kernel)" "$(value "$port" page)" \
            "$(value "$port" libc)" "$(value "$port" rustc)" "$(value "$port" processor)" \
            "$(value "$port" date)" "$(value "$port" passed)" "$(value "$port" repeated)" "$(value "$port" failed)" \
            "$(value "$port" ignored)"
    done
    return $status
}

# document FILE: replaces the table in FILE by that of the results of all ports. Refuses results of
# several commits, of a changed tree, of --short, and with a failure.
document() {
    local port status=0
    for port in "${all_ports[@]}"; do
        if [ ! -e "$ports/results/$port" ]; then
            echo "ports: no result of $port" >&2
            status=1
        elif [ -n "$(value "$port" short)" ] || [ "$(value "$port" failed)" != 0 ]; then
            echo "ports: the result of $port is of --short, or has failures" >&2
            status=1
        fi
    done
    case $(value "${all_ports[0]}" commit) in
    *-dirty)
        echo 'ports: the results are of changes that are not committed' >&2
        status=1
        ;;
    esac
    [ $status -eq 0 ] || return $status
    { echo && table "${all_ports[@]}" && echo; } >"$ports/table"
    sed -i -e "/^<!-- begin of the table/r $ports/table" \
        -e '/^<!-- begin of the table/,/^<!-- end of the table/{/^<!--/!d}' "$1"
}
