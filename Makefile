# Two commands; each does its own set-up on a fresh Debian 12 with a Rust toolchain.
.PHONY: demo test ci docs-bless

demo:        ## a whole subnet on this machine, judged by a real validator
	@scripts/setup.sh build
	@scripts/demo.sh

test:        ## the whole suite
	@scripts/setup.sh test
	@cargo test --workspace --doc --quiet
	@cargo nextest run --workspace

ci:          ## what the gate runs
	@.ci/run

docs-bless:  ## writes generated pages anew
	@mkdir -p target && touch target/bless
	@cargo test -q -p nexis-runtime --test configuration_page
