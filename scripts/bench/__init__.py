"""What the benchmarks `scripts/bench_extract` and `scripts/bench_gpu` are made of.

`photos` makes images; `networks` gives every contestant the same weights and preprocessing; `contestants` and
`peers` are what is compared; `host` runs each in a process of its own and watches it; `figures` judges and prints.
"""
