#!/usr/bin/env bash
# The one test command: lints, tests, the shipped scenarios over seeds, determinism, the alarms, and
# all that runs on a real Kafka and a real PostgreSQL, which it starts and stops.
#
# Everything runs even if something before it failed, so that one run shows all there is to mend.
# The last line is `N passed, M failed`; the exit code is 0 only if M is 0.
#
#   SEEDS   seeds of each scenario (default 3); fewer of those that take minutes
#   JOBS    processes at a time (default: all cores)
#   ONLY    a pattern: only steps whose name matches it
#   BACKDATE_KAFKA, BACKDATE_POSTGRES   servers to use instead of private ones
#   BACKDATE_KAFKA_CONTROL, BACKDATE_POSTGRES_CONTROL   commands that end and start these servers,
#           with `kill` or `start` as their last word; a step that needs one which is not given
#           uses a private server
set -uo pipefail
cd "$(dirname "$0")"

SEEDS=${SEEDS:-3}
JOBS=${JOBS:-$(nproc 2>/dev/null || echo 2)}
ONLY=${ONLY:-}
BACKDATE=target/release/backdate
HERD_ON_REAL="thundering herd on real services"
TORTURE_ON_REAL="torture on real services"
passed=0
failed=0
failures=()

if ! command -v cargo >/dev/null; then
    echo "cargo is missing: install Rust $(sed -n 's/^rust-version = "\(.*\)"/\1/p' Cargo.toml) or" \
        "newer with rustup, or add its bin folder (~/.cargo/bin) to PATH" >&2
    echo "0 passed, 1 failed"
    exit 1
fi
for component in fmt clippy; do
    if ! cargo "$component" --version >/dev/null 2>&1; then
        echo "cargo $component is missing: rustup component add ${component/fmt/rustfmt}" >&2
        echo "0 passed, 1 failed"
        exit 1
    fi
done

# Where nothing has been built in small pieces, nothing will be built again in small pieces either;
# and who has not built anything does not want to debug it.
if [[ ! -d target/debug/incremental ]]; then
    export CARGO_INCREMENTAL=0 CARGO_PROFILE_DEV_DEBUG=false CARGO_PROFILE_RELEASE_DEBUG=false
fi

output=$(mktemp -d)
ulimit -c unlimited 2>/dev/null
servers=$PWD/target/services/test
# Ends the servers of this run, or those that an earlier one left behind when it was killed.
remove_servers() {
    [[ -d $servers ]] || return 0
    bash tests/services/kafka.sh "$servers/kafka" stop
    bash tests/services/postgres.sh "$servers/postgres" stop
    # A database may have to live elsewhere, where its own user may go.
    rm -rf "$(readlink -f "$servers/postgres/data")" "$servers"
}
cleanup() {
    remove_servers
    rm -rf "$output"
}
trap cleanup EXIT
remove_servers

# Whether a step is to be run.
selected() {
    [[ -z $ONLY || $1 =~ $ONLY ]]
}

# What the threads of processes that a signal has ended were doing, where there is a debugger.
stacks() {
    local core
    command -v gdb >/dev/null || return 0
    for core in core* */core*; do
        [[ -f $core && $core -nt $output ]] || continue
        gdb -batch -ex "thread apply all backtrace 30" target/debug/backdate "$core" 2>&1
        rm -f "$core"
    done
}

# Whether a step is to be run that talks to real servers.
servers_needed() {
    selected "tests" || selected "$HERD_ON_REAL" || selected "$TORTURE_ON_REAL"
}

# step NAME EXPECTED_EXIT COMMAND...: runs it, shows its output only if the exit code is another.
step() {
    local name=$1 expected=$2 begun code seconds
    shift 2
    selected "$name" || return 0
    begun=$SECONDS
    "$@" >"$output/step" 2>&1 </dev/null
    code=$?
    seconds=$((SECONDS - begun))
    if [[ $code -eq $expected ]]; then
        passed=$((passed + 1))
        printf 'ok      %5d s  %s\n' "$seconds" "$name"
        return 0
    fi
    failed=$((failed + 1))
    failures+=("$name")
    printf 'FAILED  %5d s  %s: exit code %d instead of %d\n' "$seconds" "$name" "$code" "$expected"
    printf '        %s\n' "$*"
    tail -n 200 "$output/step" | sed 's/^/        | /'
    stacks | tail -n 400 | sed 's/^/        | /'
    return 1
}

# The fingerprint of a run, as its summary states it.
fingerprint() {
    "$1" run "$2" --seed "$3" --quiet --json - | sed -n 's/.*"fingerprint": *"\([^"]*\)".*/\1/p'
}

# Whether the development and the release build come to one fingerprint.
same_in_both_builds() {
    local scenario=$1 seed=$2 development release
    development=$(fingerprint target/debug/backdate "$scenario" "$seed")
    release=$(fingerprint "$BACKDATE" "$scenario" "$seed")
    echo "development: $development"
    echo "release:     $release"
    [[ -n $development && $development == "$release" ]]
}

# Whether two seeds come to two fingerprints.
seeds_differ() {
    local first second
    first=$(fingerprint "$BACKDATE" "$1" 1)
    second=$(fingerprint "$BACKDATE" "$1" 2)
    echo "seeds 1 and 2: $first $second"
    [[ -n $first && -n $second && $first != "$second" ]]
}

# Starts a private server unless the environment names one; prints nothing if it does.
start_server() {
    bash "tests/services/$1.sh" "$servers/$1" start
}

# use_server SERVICE VARIABLE: what the environment does not name is started, and then named.
use_server() {
    if [[ -n ${!2:-} ]]; then
        return 0
    fi
    # Whoever asks for a step that needs it asks for the server.
    if ONLY="" step "a real $1" 0 start_server "$1" && [[ -f $servers/$1/address ]]; then
        export "$2=$(cat "$servers/$1/address")"
        export "$2_CONTROL=bash $PWD/tests/services/$1.sh $servers/$1"
    fi
}

# A broker dies in it, so it needs one that it may kill.
torture() {
    if [[ -z ${BACKDATE_KAFKA_CONTROL:-} ]]; then
        start_server kafka || return
        export BACKDATE_KAFKA_CONTROL="bash $PWD/tests/services/kafka.sh $servers/kafka"
        BACKDATE_KAFKA=$(cat "$servers/kafka/address")
        export BACKDATE_KAFKA
    fi
    local attempt code
    for attempt in 1 2 3; do
        "$BACKDATE" run scenarios/recovery/torture.toml --on real --seed 1 --quiet --time-scale 5
        code=$?
        # librdkafka 2.12.1 at times ends its process when a broker has come back.
        [[ $code -eq 139 ]] || return "$code"
        echo "attempt $attempt was ended by the client library"
        $BACKDATE_KAFKA_CONTROL start || true
    done
    return "$code"
}

# The release build runs beside that of the tests: each of them ends with crates that keep one core
# busy at most.
release_build() {
    wait "$release"
    local code=$?
    cat "$output/release"
    return "$code"
}

# What is not there is installed where that is possible, and named where it is not.
if ! bash tests/services/install.sh; then
    echo "0 passed, 1 failed"
    exit 6
fi
# What is written in C is built for both profiles; where there is a ccache, once.
if [[ -d /usr/lib/ccache ]]; then
    export CCACHE_DIR=$PWD/target/ccache CCACHE_NOHASHDIR=1
    PATH=/usr/lib/ccache:$PATH
fi

step "formatting" 0 cargo fmt --all --check
step "lints" 0 cargo clippy --workspace --all-targets --quiet -- -D warnings
step "build, development" 0 cargo build --quiet --workspace --bin backdate
if selected "build, release"; then
    cargo build --quiet --release --bin backdate >"$output/release" 2>&1 &
    release=$!
fi
step "build, tests" 0 cargo test --quiet --workspace --no-run
step "build, release" 0 release_build
# A release must not be able to plant anything, and must say so.
no_defects() {
    ! grep -q append-keeps-counter "$BACKDATE" || return 1
    "$BACKDATE" run scenarios/smoke/steady.toml --seed 1 --defect append-keeps-counter
}
step "a release has no planted defects" 2 no_defects

# Before anything is concluded from runs: what is not repeatable proves nothing.
step "shipped scenarios, determinism" 0 "$BACKDATE" meta scenarios --seeds 1 --jobs "$JOBS" --quiet

if servers_needed; then
    use_server kafka BACKDATE_KAFKA
    use_server postgres BACKDATE_POSTGRES
fi

# What failed is said by the message and the place; stacks of every thread would bury it. Most tests
# wait for servers, so more of them run at a time than there are cores.
step "tests" 0 env RUST_BACKTRACE=0 RUST_TEST_THREADS=$((2 * JOBS)) \
    cargo test --workspace --quiet
step "feed folder of full size" 0 env BACKDATE_SYNTHETIC_SIZE=full \
    BACKDATE_BINARY="$PWD/$BACKDATE" \
    cargo test --workspace --quiet --test integration feed_model -- --nocapture

step "shipped scenarios, seeds 1 to $SEEDS" 0 \
    "$BACKDATE" suite scenarios --seeds "$SEEDS" --jobs "$JOBS" --quiet

step "$HERD_ON_REAL" 0 "$BACKDATE" run scenarios/load/thundering_herd.toml \
    --on real --seed 1 --quiet --time-scale 4 --set workload.portfolios.count=300 \
    --set expect.keys_reset_min=300 --set expect.dates_revalued_min=18000
step "$TORTURE_ON_REAL" 0 torture

step "development and release agree on steady" 0 same_in_both_builds scenarios/smoke/steady.toml 1
step "development and release agree on mid_replay_crash" 0 \
    same_in_both_builds scenarios/recovery/mid_replay_crash.toml 2
step "two seeds, two fingerprints" 0 seeds_differ scenarios/smoke/steady.toml

step "canary: a broken rule is seen" 1 env BACKDATE_CANARY=rule \
    "$BACKDATE" run scenarios/smoke/steady.toml --seed 1 --quiet
step "canary: nondeterminism is seen" 4 env BACKDATE_CANARY=nondeterminism \
    "$BACKDATE" meta scenarios/smoke/steady.toml --seeds 1 --quiet
step "a file that is missing is a usage error" 2 \
    "$BACKDATE" run scenarios/smoke/no_such_scenario.toml --seed 1 --quiet

if [[ $failed -gt 0 ]]; then
    printf 'failed: %s\n' "${failures[@]}"
fi
echo "$passed passed, $failed failed"
[[ $failed -eq 0 && $passed -gt 0 ]]
