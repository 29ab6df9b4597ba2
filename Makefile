# The commands of this project; each says what it does while it takes long.
# CONTRIBUTING.md describes them, and the variables that they heed.

.PHONY: help demo test lint bench soak simulate fuzz

help:
	@echo "make demo   three regions, instrumented applications and live answers on this machine"
	@echo "make test   install what the tests need and run everything"
	@echo "make lint   formatting, clippy, dependency rules"
	@echo "make bench  cost and speed beside Rotel, the Collector and DuckDB; PART=spans for one part of it, ARGS=--help"
	@echo "make simulate  whole agents and aggregators under faults; SEEDS=n runs of them, or SEED=x for one with its log"
	@echo "make fuzz  one entry point with coverage-guided inputs: TARGET=otlp_json (or all), SECONDS=n; needs the nightly compiler"
	@echo "make soak   both processes at full overload for five minutes; SECONDS=n for another time"

demo:
	@scripts/demo

test:
	@scripts/test

lint:
	@scripts/lint

bench:
	@scripts/bench $(or $(PART),$(BENCH_ONLY)) $(ARGS)

simulate:
	@scripts/simulate $(if $(SEED),--seed $(SEED),$(or $(SEEDS),100) $(if $(FIRST),--first $(FIRST)))

soak:
	@scripts/soak $(SECONDS)

fuzz:
	@scripts/fuzz "$(TARGET)" $(SECONDS)
