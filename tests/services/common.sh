# What the scripts of the services have in common; sourced, not run.
#
# A server belongs to a folder: its data, its ports, its log, and the file `pid` of the process that
# was started. Nothing is ever ended but the process of that file, and only if its command line
# still names the folder of its data.
#
# Exit codes: 0 done, 1 it failed, 2 wrong use, 3 `status` of a server that is stopped, 6 something
# has to be installed first.

complain() {
    echo "$SERVICE: $*" >&2
}

# missing WHAT PACKAGES: says what is not there and how to install it, and ends with 6.
missing() {
    complain "$1 is missing: install it with \`apt-get install $2\`, or run tests/services/install.sh"
    exit 6
}

# The command line of a process; nothing if it has ended (a zombie has ended).
command_line() {
    if [[ -d /proc/self ]]; then
        { tr '\0' ' ' <"/proc/$1/cmdline"; } 2>/dev/null
    else
        ps -p "$1" -o args= 2>/dev/null
    fi
}

# The pid of the server if it runs; `mark` is what its command line, and no other, holds.
running() {
    local pid
    pid=$(cat "$FOLDER/pid" 2>/dev/null) || return 1
    [[ $pid =~ ^[0-9]+$ && $(command_line "$pid") == *"$(mark)"* ]] && echo "$pid"
}

# ended SECONDS PID...: waits until the processes have ended.
ended() {
    local tries=$(($1 * 20)) pid
    shift
    for pid in "$@"; do
        while [[ $(command_line "$pid") == *[![:space:]]* ]]; do
            ((tries-- > 0)) || return 1
            sleep 0.05
        done
    done
}

is_port_used() {
    (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null
}

# A port that nobody listens on, below those that the system gives to clients.
free_port() {
    local port
    while :; do
        port=$((20000 + (RANDOM * 32768 + RANDOM) % 12000))
        is_port_used "$port" || { echo "$port"; return; }
    done
}

usage() {
    echo "usage: $0 FOLDER start|stop|kill|status" >&2
    exit 2
}

# main FOLDER COMMAND: the commands come one at a time.
main() {
    [[ $# -eq 2 ]] || usage
    case $2 in start | stop | kill | status) ;; *) usage ;; esac
    mkdir -p "$1" || exit 1
    FOLDER=$(cd "$1" && pwd -P) || exit 1
    if command -v flock >/dev/null; then
        exec 9>"$FOLDER/lock"
        flock 9
    fi
    case $2 in
    start)
        if running >/dev/null; then
            complain "it runs already, at $(cat "$FOLDER/address")"
        else
            start_server
        fi
        ;;
    stop) if running >/dev/null; then stop_server; fi ;;
    kill) if running >/dev/null; then kill_server; fi ;;
    status)
        if running >/dev/null; then
            echo "running at $(cat "$FOLDER/address" 2>/dev/null)"
        else
            echo "stopped"
            exit 3
        fi
        ;;
    esac
}
