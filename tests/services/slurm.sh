#!/usr/bin/env bash
# A Slurm of one's own for tests: a controller and one node on loopback, with an own munge.
#
#   slurm.sh FOLDER start    starts it and waits until the node is idle; FOLDER/address holds the
#                            path of its configuration, for SLURM_CONF
#   slurm.sh FOLDER stop     ends it
#   slurm.sh FOLDER kill     ends it at once
#   slurm.sh FOLDER status   says whether it runs
set -uo pipefail
SERVICE=slurm
HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd -P)
source "$HERE/common.sh"
PATH=$PATH:/usr/sbin:/sbin
# In the order in which they start.
DAEMONS=(munged slurmctld slurmd)

# What the command line of a daemon, and no other, holds.
mark_of() {
    case $1 in
    munged) echo "munged --foreground --key-file=$FOLDER/munge.key" ;;
    *) echo "$1 -D -f $FOLDER/slurm.conf" ;;
    esac
}

pid_of() {
    local pid
    pid=$(cat "$FOLDER/$1.pid" 2>/dev/null) || return 1
    [[ $pid =~ ^[0-9]+$ && $(command_line "$pid") == *"$(mark_of "$1")"* ]] && echo "$pid"
}

running() {
    local daemon
    for daemon in "${DAEMONS[@]}"; do pid_of "$daemon" && return 0; done
    return 1
}

launch() {
    local daemon=$1
    shift
    setsid "$@" </dev/null >>"$FOLDER/$daemon.log" 2>&1 9>&- &
    echo $! >"$FOLDER/$daemon.pid"
}

configure() {
    local name user socket
    name=$(hostname -s) user=$(id -un)
    mkdir -p "$FOLDER/state" || return 1
    # Names of sockets have 107 bytes at the most: not in a folder that may lie anywhere.
    socket=$(mktemp -d)/socket
    echo "$socket" >"$FOLDER/socket"
    chmod 0755 "${socket%/*}" "$FOLDER"
    # Each step listens on a socket in the spool folder as well.
    mkdir "${socket%/*}/spool" || return 1
    cat >"$FOLDER/slurm.conf" <<SETTINGS
ClusterName=test
SlurmctldHost=$name(127.0.0.1)
SlurmctldPort=$(free_port)
SlurmdPort=$(free_port)
SlurmUser=$user
SlurmdUser=$user
AuthType=auth/munge
AuthInfo=socket=$socket,cred_expire=5
StateSaveLocation=$FOLDER/state
SlurmdSpoolDir=${socket%/*}/spool
SlurmctldPidFile=$FOLDER/slurmctld.own.pid
SlurmdPidFile=$FOLDER/slurmd.own.pid
ProctrackType=proctrack/pgid
TaskPlugin=task/none
SwitchType=switch/none
MpiDefault=none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SlurmdParameters=config_overrides
ReturnToService=2
JobRequeue=1
KillWait=2
SchedulerParameters=sched_interval=2,sched_min_interval=0
NodeName=$name NodeAddr=127.0.0.1 CPUs=2 State=UNKNOWN
PartitionName=test Nodes=$name Default=YES MaxTime=INFINITE State=UP
SETTINGS
    if [[ ! -f $FOLDER/munge.key ]]; then
        (umask 077 && head -c 128 /dev/urandom >"$FOLDER/munge.key")
    fi
}

start_server() {
    local daemon socket state tries=600
    for daemon in "${DAEMONS[@]}" sbatch sinfo; do
        command -v "$daemon" >/dev/null || missing "$daemon" "slurm-wlm munge"
    done
    configure || exit 1
    socket=$(cat "$FOLDER/socket")
    launch munged munged --foreground --key-file="$FOLDER/munge.key" \
        --socket="$socket" --pid-file="$FOLDER/munged.own.pid" \
        --log-file="$FOLDER/munged.log" --seed-file="$FOLDER/munge.seed" --num-threads=2 --force
    while [[ ! -S $socket ]] && ((tries-- > 0)); do sleep 0.05; done
    launch slurmctld slurmctld -D -f "$FOLDER/slurm.conf"
    launch slurmd slurmd -D -f "$FOLDER/slurm.conf"
    while ((tries-- > 0)); do
        sleep 0.1
        state=$(SLURM_CONF=$FOLDER/slurm.conf timeout 5 sinfo --noheader --format=%T 2>/dev/null)
        if [[ $state == idle ]]; then
            echo "$FOLDER/slurm.conf" >"$FOLDER/address"
            return 0
        fi
    done
    complain "the node does not come up; the ends of the logs in $FOLDER:"
    for daemon in "${DAEMONS[@]}"; do tail -n 8 "$FOLDER/$daemon.log" >&2; done
    kill_server
    exit 1
}

end_daemons() {
    local daemon pid
    for daemon in slurmd slurmctld munged; do
        pid=$(pid_of "$daemon") || continue
        kill -"$1" "$pid"
        ended 20 "$pid" || kill -KILL "$pid"
    done
    if [[ -f $FOLDER/socket ]]; then rm -rf "$(dirname "$(cat "$FOLDER/socket")")"; fi
    rm -f "$FOLDER/socket"
}

stop_server() {
    end_daemons TERM
}

kill_server() {
    end_daemons KILL
}

main "$@"
