#!/usr/bin/env bash
# The one test command: lints, tests, the shipped scenarios over seeds, determinism, and the alarms.
#
# Everything runs even if something before it failed, so that one run shows all there is to mend.
# The last line is `N passed, M failed`; the exit code is 0 only if M is 0.
#
#   SEEDS   seeds of each scenario (default 5); fewer of those that take minutes
#   JOBS    processes at a time (default: all cores)
#   ONLY    a pattern: only steps whose name matches it
set -uo pipefail
cd "$(dirname "$0")"

SEEDS=${SEEDS:-5}
JOBS=${JOBS:-$(nproc 2>/dev/null || echo 2)}
ONLY=${ONLY:-}
BACKDATE=target/release/backdate
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

output=$(mktemp -d)
trap 'rm -rf "$output"' EXIT

# step NAME EXPECTED_EXIT COMMAND...: runs it, shows its output only if the exit code is another.
step() {
    local name=$1 expected=$2 begun code seconds
    shift 2
    if [[ -n $ONLY && ! $name =~ $ONLY ]]; then
        return 0
    fi
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
    return 1
}

# Runs the seeds 1 to N of a scenario, JOBS at a time; fails with the output of those that fail.
seeds() {
    local scenario=$1 count=$2
    seq "$count" | xargs -P "$JOBS" -I{} bash -c '
        if ! "$0" run "$1" --seed "$2" --quiet >"$3/seed-$2" 2>&1; then
            echo "seed $2:"; cat "$3/seed-$2"; exit 1
        fi' "$BACKDATE" "$scenario" {} "$output"
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

step "formatting" 0 cargo fmt --all --check
step "lints" 0 cargo clippy --workspace --all-targets --quiet -- -D warnings
step "build, development" 0 cargo build --quiet --workspace --bin backdate
step "tests" 0 cargo test --workspace --quiet
step "build, release" 0 cargo build --quiet --release --bin backdate
step "feed folder of full size" 0 env BACKDATE_SYNTHETIC_SIZE=full \
    BACKDATE_BINARY="$PWD/$BACKDATE" \
    cargo test --quiet -p backdate-tests --test integration feed_model -- --nocapture

step "thundering herd, seed 1" 0 \
    "$BACKDATE" run scenarios/load/thundering_herd.toml --seed 1 --quiet

shopt -s nullglob
scenarios=(scenarios/smoke/*.toml scenarios/recovery/*.toml scenarios/consistency/*.toml
    scenarios/regression/*.toml)
if [[ ${#scenarios[@]} -eq 0 ]]; then
    step "scenarios are there" 0 false
fi
for scenario in "${scenarios[@]}"; do
    step "$scenario, seeds 1 to $SEEDS" 0 seeds "$scenario" "$SEEDS"
done
for scenario in "${scenarios[@]}"; do
    step "$scenario, determinism" 0 "$BACKDATE" meta "$scenario" --seeds 1 --quiet
done

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
