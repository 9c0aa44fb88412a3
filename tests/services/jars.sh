#!/usr/bin/env bash
# The jars that tests need: the broker's, and HdrHistogram's. Maven copies them, once, into
# target/services/libs. Sourced by kafka.sh; run by itself it fetches them and prints the folder.
set -uo pipefail
HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd -P)
LIBS=$HERE/../../target/services/libs

# Puts the jars where they belong, all or none.
fetch_jars() {
    [[ -d $LIBS ]] && return 0
    command -v mvn >/dev/null || missing "Apache Maven (mvn)" maven
    local parent=${LIBS%/*} copy
    mkdir -p "$parent" || return 1
    if command -v flock >/dev/null; then
        exec 8>"$parent/libs.lock"
        flock 8
        [[ -d $LIBS ]] && return 0
    fi
    copy=$(mktemp -d "$parent/libs.XXXXXX") || return 1
    if ! mvn --batch-mode --quiet --file "$HERE/pom.xml" dependency:copy-dependencies \
        "-DoutputDirectory=$copy" >"$parent/maven.log" 2>&1 </dev/null; then
        rm -rf "$copy"
        complain "Maven could not get the jars; the end of $parent/maven.log:"
        tail -n 20 "$parent/maven.log" >&2
        return 1
    fi
    mv "$copy" "$LIBS"
    if command -v flock >/dev/null; then exec 8>&-; fi
}

if [[ ${BASH_SOURCE[0]} == "$0" ]]; then
    SERVICE=jars
    source "$HERE/common.sh"
    command -v javac >/dev/null || missing "a Java compiler (17 or newer)" default-jdk-headless
    fetch_jars || exit 1
    cd "$LIBS" && pwd -P
fi
