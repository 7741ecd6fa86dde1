# List the recipes.
default:
    @just --list

# Run hello_world on this machine, over both paths.
demo *arguments:
    cargo run --release -- demo {{arguments}}

# Run everything on this machine, on port 7071.
local *arguments:
    cargo run --release -- local {{arguments}}

# Benchmarks: `just bench run --n 10000`, `just bench fanout`.
bench *arguments:
    cargo run --release -- bench {{arguments}}

# Compare with other job queues, on one PostgreSQL.
bench-peers *arguments:
    scripts/bench-peers {{arguments}}

# Chaos tests: kill and stop processes; drop, duplicate and delay messages: `just chaos --seed 7`.
chaos *arguments:
    scripts/chaos {{arguments}}

# Run all tests, or the tests that match a filter.
test *arguments:
    scripts/test {{arguments}}

# Check formatting and lints, as CI does.
lint:
    cargo fmt --check
    cargo clippy --all-targets -- -D warnings
    cargo clippy --package lastlight-app --no-default-features -- -D warnings

# Build the zip for Azure.
package:
    scripts/package

# Check licences, bans, sources and advisories of the dependencies.
deny *arguments:
    scripts/deny {{arguments}}
