#!/usr/bin/env bash
# Installs what the servers for tests need and what is not there: Java and Maven for Kafka (and a
# compiler for HdrHistogram's own reader), the PostgreSQL server, Slurm with munge, and, where it can,
# ccache, which saves a minute of building. Needs root and apt-get; says what to install where it cannot.
#
# Exit code 0: everything is there now; 6: something is missing and cannot be installed.
set -uo pipefail

packages=()
command -v java >/dev/null && command -v javac >/dev/null || packages+=(default-jdk-headless)
command -v mvn >/dev/null || packages+=(maven)
has_server() {
    local folder
    for folder in /usr/lib/postgresql/*/bin "$(pg_config --bindir 2>/dev/null)" \
        "$(dirname "$(command -v initdb || echo /)")"; do
        [[ -x $folder/initdb && -x $folder/pg_ctl && -x $folder/postgres ]] && return 0
    done
    return 1
}
has_server || packages+=(postgresql)
PATH=$PATH:/usr/sbin:/sbin
command -v slurmctld >/dev/null && command -v slurmd >/dev/null || packages+=(slurm-wlm)
command -v munged >/dev/null || packages+=(munge)
command -v flock >/dev/null || packages+=(util-linux)
may_install() {
    [[ $(id -u) -eq 0 ]] && command -v apt-get >/dev/null
}
may_install && ! command -v ccache >/dev/null && packages+=(ccache)
[[ ${#packages[@]} -eq 0 ]] && exit 0

if ! may_install; then
    echo "missing for the real services: ${packages[*]} (Debian's names);" \
        "install them, or run this script as root" >&2
    exit 6
fi
export DEBIAN_FRONTEND=noninteractive
log=$(mktemp)
# A package's own server would take memory and the standard port.
mkdir -p /etc/postgresql-common/createcluster.d
echo "create_main_cluster = false" >/etc/postgresql-common/createcluster.d/tests.conf
if ! { apt-get update && apt-get install --yes --no-install-recommends "${packages[@]}"; } \
    >"$log" 2>&1 </dev/null; then
    echo "apt-get could not install ${packages[*]}:" >&2
    tail -n 20 "$log" >&2
    rm -f "$log"
    exit 6
fi
rm -f "$log"
