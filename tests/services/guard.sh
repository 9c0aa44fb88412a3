#!/usr/bin/env bash
# Ends servers when whoever has started them ends, however that happens.
#
#   guard.sh FOLDER
#
# Reads its input to the end, which comes when the last process that holds the other end of the pipe
# has gone; then stops FOLDER/kafka, FOLDER/kafka_cluster, FOLDER/postgres and FOLDER/slurm, unmounts
# what FOLDER/disk leads to and removes FOLDER. A signal that a terminal sends to all of its processes does not end
# the guard before its work is done.
set -uo pipefail
trap '' INT HUP TERM
HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd -P)
cat >/dev/null
bash "$HERE/kafka.sh" "$1/kafka" stop >/dev/null 2>&1 &
bash "$HERE/kafka_cluster.sh" "$1/kafka_cluster" stop >/dev/null 2>&1 &
bash "$HERE/slurm.sh" "$1/slurm" stop >/dev/null 2>&1 &
bash "$HERE/postgres.sh" "$1/postgres" stop >/dev/null 2>&1
wait
data=$(readlink -f "$1/postgres/data") && rm -rf "$data"
if disk=$(readlink -e "$1/disk"); then
    umount "$disk" 2>/dev/null
    rmdir "$disk"
fi
rm -rf "$1"
# The last one of a test process.
rmdir "$(dirname "$1")" 2>/dev/null
exit 0
