#!/usr/bin/env bash
# A PostgreSQL server of one's own for tests, on loopback.
#
#   postgres.sh FOLDER start    starts it and waits until it answers; FOLDER/address holds
#                               postgres://postgres:PASSWORD@127.0.0.1:PORT/postgres
#   postgres.sh FOLDER stop     ends it in good order, sessions or not
#   postgres.sh FOLDER kill     ends it as a loss of power of the processes would (SIGKILL)
#   postgres.sh FOLDER status   says whether it runs
#
# POSTGRES_SHARED_BUFFERS says how much memory a new one has for its pages, 256MB if not set.
#
# Data, port and password stay from one start to the next. fsync and synchronous_commit are on: what
# was acknowledged survives. The server refuses to run as root, so root runs it as user `postgres`.
set -uo pipefail
SERVICE=postgres
HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd -P)
source "$HERE/common.sh"

mark() {
    echo "/postgres -D $(readlink -f "$FOLDER/data") "
}

# The folder of the newest server's programs: of a package, or of the one on the path.
find_programs() {
    local folder
    for folder in $(ls -d /usr/lib/postgresql/*/bin 2>/dev/null | sort -Vr) \
        "$(pg_config --bindir 2>/dev/null)" "$(dirname "$(command -v initdb || echo /)")"; do
        if [[ -x $folder/initdb && -x $folder/pg_ctl && -x $folder/postgres ]]; then
            echo "$folder"
            return
        fi
    done
    return 1
}

# Runs a program as the owner of the data.
as_owner() {
    if [[ $(id -u) -ne 0 ]]; then
        "$@"
    elif command -v runuser >/dev/null; then
        runuser -u postgres -- "$@"
    else
        su postgres -s /bin/sh -c "$(printf '%q ' "$@")"
    fi
}

# Makes the folder of the data. Where its owner cannot reach FOLDER (a repository in the home of
# root), the data lie in a folder for temporary files, and FOLDER holds a link.
make_data_folder() {
    local place=$FOLDER/data
    rm -rf "$(readlink -f "$place")" "$place"
    mkdir "$place" || return 1
    if [[ $(id -u) -eq 0 ]]; then
        chown postgres "$place"
        if ! as_owner test -w "$place"; then
            rmdir "$place"
            place=$(mktemp -d "${TMPDIR:-/tmp}/backdate-postgres.XXXXXX") || return 1
            chown postgres "$place"
            ln -s "$place" "$FOLDER/data"
        fi
    fi
    chmod 700 "$place"
}

# Makes the cluster, at the first start.
prepare() {
    local port=$1 password file
    password=$(head -c 12 /dev/urandom | od -An -tx1 | tr -d ' \n')
    (umask 077 && echo "$password" >"$FOLDER/password")
    make_data_folder || return 1
    DATA=$(readlink -f "$FOLDER/data")
    # The owner may not read FOLDER, so it gets a file of its own for a moment.
    file=$(as_owner mktemp) && as_owner tee "$file" <"$FOLDER/password" >/dev/null || return 1
    if ! as_owner "$PROGRAMS/initdb" --pgdata "$DATA" --username postgres --auth scram-sha-256 \
        --pwfile "$file" --encoding UTF8 --locale C --no-sync \
        </dev/null >"$FOLDER/initdb.log" 2>&1; then
        as_owner rm -f "$file"
        complain "the database cluster could not be made:"
        tail -n 20 "$FOLDER/initdb.log" >&2
        return 1
    fi
    as_owner rm -f "$file"
    as_owner tee -a "$DATA/postgresql.conf" >/dev/null <<SETTINGS
listen_addresses = '127.0.0.1'
port = $port
unix_socket_directories = ''
max_connections = 400
wal_level = logical
max_wal_senders = 40
max_replication_slots = 40
fsync = on
synchronous_commit = on
shared_buffers = ${POSTGRES_SHARED_BUFFERS:-256MB}
max_wal_size = 4GB
logging_collector = off
log_min_messages = fatal
SETTINGS
}

start_server() {
    PROGRAMS=$(find_programs) || missing "the PostgreSQL server (initdb, pg_ctl, postgres)" postgresql
    if [[ $(id -u) -eq 0 ]] && ! id postgres >/dev/null 2>&1; then
        complain "it refuses to run as root, and there is no user postgres to run it:" \
            "\`useradd --system postgres\`, or run this as another user"
        exit 6
    fi
    DATA=$(readlink -f "$FOLDER/data")
    local tries=3 port
    while ((tries-- > 0)); do
        port=$(cat "$FOLDER/port" 2>/dev/null) || port=
        if [[ -z $port ]]; then
            port=$(free_port)
            prepare "$port" || exit 1
        fi
        launch "$port" && return
        # Somebody may have taken the port meanwhile; one that was used before is not given up.
        [[ -f $FOLDER/port ]] && break
    done
    complain "the server does not start; the end of $FOLDER/log:"
    tail -n 20 "$FOLDER/log" >&2
    exit 1
}

# Starts it and waits until it takes connections.
launch() {
    local port=$1
    rm -f "$FOLDER/address"
    # The server takes a process that has ended, but that nobody has waited for, for a running one.
    local last
    last=$(head -n 1 "$DATA/postmaster.pid" 2>/dev/null)
    if [[ -n $last && $(command_line "$last") != *[![:space:]]* ]]; then
        rm -f "$DATA/postmaster.pid"
    fi
    # The owner may not write to FOLDER, so this shell opens the log.
    as_owner "$PROGRAMS/pg_ctl" start --pgdata "$DATA" --wait --timeout 60 \
        --options "-c cluster_name=backdate" </dev/null >>"$FOLDER/log" 2>&1 9>&- || return 1
    head -n 1 "$DATA/postmaster.pid" >"$FOLDER/pid"
    echo "$port" >"$FOLDER/port"
    echo "postgres://postgres:$(cat "$FOLDER/password")@127.0.0.1:$port/postgres" \
        >"$FOLDER/address"
}

stop_server() {
    local pid
    pid=$(running) || return 0
    # SIGINT asks for a fast shutdown: sessions are ended, everything is written.
    kill -INT "$pid"
    ended 60 "$pid" && return
    complain "the server (pid $pid) has not ended within 60 s"
    exit 1
}

# The server and the processes that it has started.
kill_server() {
    local pid children
    pid=$(running) || return 0
    children=$(cat "/proc/$pid/task/$pid/children" 2>/dev/null) ||
        children=$(ps -e -o pid= -o ppid= | awk -v parent="$pid" '$2 == parent { print $1 }')
    # shellcheck disable=SC2086 # a list of pids
    kill -KILL "$pid" $children 2>/dev/null
    # shellcheck disable=SC2086
    ended 10 "$pid" $children
}

main "$@"
