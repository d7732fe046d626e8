#!/usr/bin/env bash
# Every strategy on every kind of space: the tables of docs/strategies.md.
#
#   benches/strategies.sh DATA [SEEDS [TRIALS]] > strategies.md
#
# DATA is the folder that AUTOML_DATA names in the tests. The tables of networks and of hyperparameters come first, then pipelines on
# two tables, which are trained for real, with fewer trials and seeds.
set -euo pipefail
data=$(cd "${1:?usage: benches/strategies.sh DATA [SEEDS [TRIALS]]}" && pwd)
seeds=${2:-10} trials=${3:-150}
cd "$(dirname "${BASH_SOURCE[0]}")/.."
automl=${AUTOML:-target/release/automl}
[ -x "$automl" ] || { echo "build it first: cargo build --release" >&2; exit 1; }
configs=$(mktemp -d)
trap 'rm -rf "$configs"' EXIT

# An example with its table's place.
table() { sed "s|^file = .*|file = \"$data/$2\"|" "examples/$1.toml" > "$configs/$3.toml"; }
table nas-bench-201 nas/nb201.csv.gz nb201-c10
sed 's/c10_val12/c100_val12/; s/c10_test200/c100_test200/' "$configs/nb201-c10.toml" > "$configs/nb201-c100.toml"
table nas-bench-macro nas/nas_bench_macro_cifar10.csv.gz nb-macro
table ec-nas nas/ecnas_4v5v_4epochs.csv.gz ec-nas
table hpo-bench hpo/hpobench_vehicle.csv.gz hpo-vehicle
pipelines() {
    printf 'seed = 1\n[study]\ntrials = 60\nlag = 0\n[strategy]\ntype = "random"\n[evaluator]\ntype = "tabular"\ntrain = "%s"\ntarget = "%s"\n' \
        "$data/tabular/$1/train.csv" "$2" > "$configs/$1.toml"
}
pipelines pima target
pipelines balance_scale class

strategies=()
for strategy in random 'regularized_evolution(population=30, sample=10)' local_search reinforce graph_evolution darwin tpe bayes \
    bananas nao_plus renas renas_plus; do
    strategies+=(--strategy "$strategy")
done
"$automl" compare "$configs"/{nb201-c10,nb201-c100,nb-macro,ec-nas,hpo-vehicle}.toml --matrix --seeds "$seeds" --trials "$trials" --at "$trials" \
    --metric c10_test200 --metric c100_test200 --metric mean_acc --metric test_acc "${strategies[@]}"
echo
"$automl" compare "$configs"/{pima,balance_scale}.toml --matrix --seeds "$(((seeds + 2) / 3))" --trials 60 --at 60 "${strategies[@]}"
