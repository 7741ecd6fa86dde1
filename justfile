# List what there is.
default:
    @just --list

# The main job on this machine, over both paths.
demo *arguments:
    cargo run --release -- demo {{arguments}}

# Everything on this machine, on port 7071.
local *arguments:
    cargo run --release -- local {{arguments}}

# Figures: `just bench run --n 10000`, `just bench fanout`.
bench *arguments:
    cargo run --release -- bench {{arguments}}

# Beside other job queues, on one PostgreSQL.
bench-peers *arguments:
    scripts/bench-peers {{arguments}}

# Kill, stop, drop, double and delay: `just chaos --seed 7`.
chaos *arguments:
    scripts/chaos {{arguments}}

# All tests, or those that a filter matches.
test *arguments:
    scripts/test {{arguments}}

# Formatting and lints, as CI wants them.
lint:
    cargo fmt --check
    cargo clippy --all-targets -- -D warnings
    cargo clippy --package lastlight-app --no-default-features -- -D warnings

# The zip that Azure gets.
package:
    scripts/package

# Licences, bans, sources and advisories of what comes into the binary.
deny *arguments:
    scripts/deny {{arguments}}
