#!/usr/bin/env bash
# An Apache Kafka broker of one's own for tests: one node, KRaft, on loopback.
#
#   kafka.sh FOLDER start    starts it and waits until it answers; FOLDER/address holds host:port
#   kafka.sh FOLDER stop     ends it in good order
#   kafka.sh FOLDER kill     ends it as a loss of power of the process would (SIGKILL)
#   kafka.sh FOLDER status   says whether it runs
#
# A broker of a cluster finds its number, its ports, the name of the cluster and the voters in
# FOLDER/member, see kafka_cluster.sh. Data and ports stay from one start to the next. The broker's
# jars come from jars.sh. Syncing is as Kafka ships it: left to the operating system.
set -uo pipefail
SERVICE=kafka
HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd -P)
source "$HERE/common.sh"
source "$HERE/jars.sh"

mark() {
    echo "kafka.Kafka $FOLDER/server.properties"
}

# An identifier as Kafka wants one: 16 random bytes in URL-safe base64, of letters and digits alone,
# for one that begins with a dash would be taken for an option.
random_id() {
    head -c 16 /dev/urandom | base64 | tr '+/' 'pq' | tr -d '='
}

java_run() {
    java "$@" 2>&1 </dev/null
}

# Writes the settings and formats the folder of the data, at the first start.
prepare() {
    local port=$1 controller=$2 id=1 replicas=1 enough=1 cluster voters
    cluster=$(random_id)
    voters=1@127.0.0.1:$controller
    if [[ -f $FOLDER/member ]]; then
        read -r id _ _ cluster voters <"$FOLDER/member"
        replicas=3 enough=2
    fi
    cat >"$FOLDER/server.properties" <<SETTINGS
process.roles=broker,controller
node.id=$id
controller.quorum.voters=$voters
controller.quorum.election.timeout.ms=500
controller.quorum.fetch.timeout.ms=1000
listeners=PLAINTEXT://127.0.0.1:$port,CONTROLLER://127.0.0.1:$controller
advertised.listeners=PLAINTEXT://127.0.0.1:$port
controller.listener.names=CONTROLLER
log.dirs=$FOLDER/data
num.partitions=4
auto.create.topics.enable=false
group.initial.rebalance.delay.ms=0
broker.heartbeat.interval.ms=500
broker.session.timeout.ms=3000
group.min.session.timeout.ms=500
offsets.topic.num.partitions=8
offsets.topic.replication.factor=$replicas
min.insync.replicas=$enough
replica.lag.time.max.ms=3000
transaction.state.log.num.partitions=2
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
log.cleaner.dedupe.buffer.size=8388608
SETTINGS
    rm -rf "$FOLDER/data"
    java_run -cp "$LIBS/*" kafka.tools.StorageTool format --cluster-id "$cluster" \
        --config "$FOLDER/server.properties" >"$FOLDER/format.log" && return 0
    complain "the data folder could not be formatted:"
    tail -n 20 "$FOLDER/format.log" >&2
    return 1
}

# Whether it answers: asks which versions of requests it knows (ApiVersions, version 0).
answers() {
    local port=$1
    (
        exec 3<>"/dev/tcp/127.0.0.1/$port" || exit 1
        printf '\0\0\0\12\0\22\0\0\0\0\0\1\377\377' >&3 || exit 1
        [[ $(timeout 2 head -c 8 <&3 | wc -c) -eq 8 ]]
    ) 2>/dev/null
}

# Starts the process and waits for an answer; fails if it ends or takes longer than a minute.
launch() {
    local port=$1 tries=600
    rm -f "$FOLDER/address"
    local log=-Dorg.slf4j.simpleLogger.
    setsid java -Xms128m -Xmx400m -XX:+UseSerialGC -XX:TieredStopAtLevel=1 \
        "${log}defaultLogLevel=warn" "${log}showDateTime=true" \
        "${log}dateTimeFormat=HH:mm:ss.SSS" -cp "$LIBS/*" \
        kafka.Kafka "$FOLDER/server.properties" </dev/null >>"$FOLDER/log" 2>&1 8>&- 9>&- &
    echo $! >"$FOLDER/pid"
    while ((tries-- > 0)); do
        sleep 0.1
        if answers "$port"; then
            echo "127.0.0.1:$port" >"$FOLDER/address"
            return 0
        fi
        running >/dev/null || return 1
    done
    return 1
}

start_server() {
    command -v java >/dev/null || missing "Java (17 or newer)" default-jre-headless
    fetch_jars || exit 1
    local tries=3 port controller
    while ((tries-- > 0)); do
        if [[ ! -f $FOLDER/ports ]]; then
            if [[ -f $FOLDER/member ]]; then
                read -r _ port controller _ <"$FOLDER/member"
            else
                port=$(free_port)
                controller=$(free_port)
            fi
            prepare "$port" "$controller" || exit 1
        else
            read -r port controller <"$FOLDER/ports"
        fi
        if launch "$port"; then
            echo "$port $controller" >"$FOLDER/ports"
            return
        fi
        kill_server
        # Somebody may have taken a port meanwhile; ports that were used before are not given up.
        [[ -f $FOLDER/ports ]] && break
    done
    complain "the broker does not start; the end of $FOLDER/log:"
    tail -n 20 "$FOLDER/log" >&2
    exit 1
}

stop_server() {
    local pid
    pid=$(running) || return 0
    kill -TERM "$pid"
    ended 60 "$pid" && return
    complain "the broker (pid $pid) has not ended within 60 s"
    exit 1
}

kill_server() {
    local pid
    pid=$(running) || return 0
    kill -KILL "$pid"
    ended 10 "$pid"
}

main "$@"
