# Two commands; each does its own set-up on a fresh Debian 12 with a Rust toolchain.
.PHONY: demo test ci docs-bless fleet epochs bench-fleet bench-barrier bench-beside mutants fuzz parity-parquet

demo:        ## a whole subnet on this machine, judged by a real validator
	@scripts/setup.sh build
	@scripts/demo.sh

test:        ## the whole suite
	@scripts/setup.sh test
	@cargo test --workspace --doc --quiet
	@-scripts/previous.sh
	@cargo nextest run --workspace

ci:          ## what the gate runs
	@.ci/run

docs-bless:  ## writes generated pages anew
	@mkdir -p target && touch target/bless
	@cargo test -q -p nexis-runtime --test configuration_page

fleet:       ## the fleet under faults; NEXIS_FLEET_SCHEDULES and _SEED choose how many and which, _SITES how many side by side
	@-scripts/previous.sh
	@cargo build -q -p nexis-scheduler -p nexis-worker --bins
	@cargo test -q -p nexis-e2e --test fleet -- --nocapture --test-threads 1

epochs:      ## weight epochs under faults: NEXIS_EPOCHS of plain and as many of committed weights, from NEXIS_SEED on
	@cargo test -q -p nexis-scheduler --test epochs -- --nocapture --test-threads 1 whatever_goes_wrong

bench-fleet: ## queue and board beside Celery and a bare loop; NEXIS_BENCH_JOBS, _PEER_JOBS (0: no Celery), _ROUNDS choose how much
	@scripts/setup.sh test
	@test -x target/venv-celery/bin/celery || { python3 -m venv target/venv-celery && target/venv-celery/bin/pip install -q 'celery[redis]'; }
	@cargo bench -q -p nexis-worker --no-default-features --bench fleet

bench-barrier: ## from the last report to the first clip job, and what an interval takes of memory; NEXIS_BENCH_MINERS, _ROWS choose how much
	@scripts/setup.sh test
	@cargo bench -q -p nexis-worker --no-default-features --bench barrier

bench-beside: ## a fleet on this machine beside `nexis validate`; NEXIS_BENCH_MINERS, _PERMITS, _ROUNDS choose how much
	@scripts/setup.sh test
	@cargo build -q --profile bench --workspace --bins
	@cargo bench -q --workspace --bench beside

COUNT ?= 100000
SEED ?= 1
mutants:     ## damaged clips against the sandbox: COUNT of them, chosen by SEED
	@NEXIS_MUTANTS=$(COUNT) NEXIS_MUTANTS_SEED=$(SEED) cargo test -q --release -p nexis-media --test mutants -- --nocapture

parity-parquet: ## data sets against pyarrow and pydantic: COUNT generated and as many damaged ones, chosen by SEED
	@scripts/setup.sh test
	@NEXIS_PARITY_COUNT=$(COUNT) NEXIS_PARITY_SEED=$(SEED) cargo test -q -p nexis-dataset --test parity -- --nocapture as_many_files_as_asked_for

TARGET ?= clip
SECONDS ?= 60
fuzz:        ## coverage-guided fuzzing of TARGET (clip, manifest, dataset, record_info, wire) for SECONDS
	@cargo fuzz --version >/dev/null 2>&1 || cargo install --locked cargo-fuzz
	@mkdir -p target/fuzz-found/$(TARGET)
	@CARGO_TARGET_DIR=target/fuzz cargo fuzz run -D -s none $(TARGET) target/fuzz-found/$(TARGET) fuzz/corpus/$(TARGET) -- -max_total_time=$(SECONDS) -rss_limit_mb=4096
