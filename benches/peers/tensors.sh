#!/usr/bin/env bash
# The tensor layer beside PyTorch, operation by operation, on 1 and 2 threads. Usage: tensors.sh [ROUNDS]; PYTHON names an
# interpreter that has torch (default: python3). Both sides run in turn, three times, and the least median of each counts.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
rounds=${1:-7}
cargo build --release --quiet -p benches --example tensors
ours=${CARGO_TARGET_DIR:-target}/release/examples/tensors
out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT
for turn in 1 2 3; do
    for threads in 1 2; do
        cores=$(seq -s, 0 $((threads - 1)))
        taskset -c "$cores" "$ours" "$threads" "$rounds" >"$out/ours.$threads.$turn"
        taskset -c "$cores" "${PYTHON:-python3}" benches/peers/tensors.py "$threads" "$rounds" >"$out/torch.$threads.$turn"
    done
done
"${PYTHON:-python3}" - "$out" <<'PYTHON'
import json, pathlib, sys

def least(side, threads):
    turns = [json.loads((pathlib.Path(sys.argv[1]) / f"{side}.{threads}.{turn}").read_text()) for turn in (1, 2, 3)]
    return {name: min(turn[name] for turn in turns) for name in turns[0]}

ours, torch = ({t: least(side, t) for t in (1, 2)} for side in ("ours", "torch"))
print("| ms | PyTorch, 1 thread | ours | ratio | PyTorch, 2 threads | ours | ratio |\n|---|---|---|---|---|---|---|")
for name in torch[1]:
    cells = []
    for t in (1, 2):
        cells += [f"{1e3 * torch[t][name]:.1f}", f"{1e3 * ours[t][name]:.1f}", f"{ours[t][name] / torch[t][name]:.2f}"]
    print(f"| {name} | {' | '.join(cells)} |")
PYTHON
