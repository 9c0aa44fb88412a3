#!/usr/bin/env bash
# Three Apache Kafka brokers of one's own for tests: one cluster, KRaft, each a controller as well.
#
#   kafka_cluster.sh FOLDER start    starts them and waits until they answer; FOLDER/address holds
#                                    host:port of each, with commas between
#   kafka_cluster.sh FOLDER stop     ends them in good order
#   kafka_cluster.sh FOLDER kill     ends them as a loss of power of the processes would (SIGKILL)
#   kafka_cluster.sh FOLDER status   says whether any of them runs
#
# Each broker has a folder of its own, FOLDER/1 and so on, for kafka.sh to kill and start one alone.
set -uo pipefail
SERVICE=kafka_cluster
HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd -P)
source "$HERE/common.sh"
NODES=(1 2 3)

# each COMMAND: for all brokers at the same time; whether it went well with all of them.
each() {
    local node pids=() failed=0
    for node in "${NODES[@]}"; do
        bash "$HERE/kafka.sh" "$FOLDER/$node" "$1" 9>&- &
        pids+=($!)
    done
    for pid in "${pids[@]}"; do
        wait "$pid" || failed=1
    done
    return "$failed"
}

running() {
    local node
    for node in "${NODES[@]}"; do
        bash "$HERE/kafka.sh" "$FOLDER/$node" status >/dev/null && return 0
    done
    return 1
}

# Tells each broker of the others, at the first start: number, ports, name of the cluster, voters.
introduce() {
    local node ports=() controllers=() voters="" cluster
    for node in "${NODES[@]}"; do
        ports+=("$(free_port)")
        controllers+=("$(free_port)")
        voters+="${voters:+,}$node@127.0.0.1:${controllers[-1]}"
    done
    cluster=$(head -c 16 /dev/urandom | base64 | tr '+/' 'pq' | tr -d '=')
    for node in "${NODES[@]}"; do
        mkdir -p "$FOLDER/$node"
        echo "$node ${ports[node - 1]} ${controllers[node - 1]} $cluster $voters" \
            >"$FOLDER/$node/member"
    done
}

start_server() {
    [[ -f $FOLDER/1/member ]] || introduce
    each start || exit 1
    cat "$FOLDER"/*/address | paste -sd, - >"$FOLDER/address"
}

stop_server() {
    each stop || exit 1
}

kill_server() {
    each kill
}

main "$@"
