#!/usr/bin/env bash
# On a machine with a GPU, from the folder that gather.py has made:  OUT=results bash benchmarks/gpu/run.sh
# The results of each step are written to $OUT/gpu.md, also if a later step fails; the run ends within $BUDGET seconds.
# DRY=1 tries all of it on a CPU: tiny tensors in Triton's interpreter, tests collected and not run, no row timed.
set -uo pipefail
cd "$(dirname "$0")/../.."

dry=${DRY:-}
python=${PYTHON:-python3}
budget=${BUDGET:-460}
[ -z "$dry" ] || budget=3600  # an interpreter on a busy machine needs many times a GPU's seconds
page=${OUT:=runs/gpu}/gpu.md
failed=0

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
mkdir -p "$OUT"
export PYTHONUNBUFFERED=1 PYTHONPATH=$scratch/site:$PWD/benchmarks OMP_NUM_THREADS=${OMP_NUM_THREADS:-4}
# Later steps reuse the kernels that an earlier step compiled.
export TRITON_CACHE_DIR=$scratch/triton TORCHINDUCTOR_CACHE_DIR=$scratch/inductor
[ -z "$dry" ] || export TRITON_INTERPRET=1

left() { echo $((budget - SECONDS)); }

# within SECONDS COMMAND...: run it with this time limit and the budget's; write its output to the page.
within() {
    local limit=$1
    [ -z "$dry" ] || limit=$budget
    shift
    if [ "$limit" -gt "$(left)" ]; then limit=$(left); fi
    if [ "$limit" -lt 5 ]; then
        echo "not run: the budget of $budget s is spent" | tee -a "$page"
        return 1
    fi
    timeout -k 5 "$limit" "$@" | tee -a "$page"
}

# step TITLE SECONDS COMMAND...: the same, with a heading, as a block of text.
step() {
    echo "=== $1, after $SECONDS s"
    printf '\n# %s\n\n```text\n' "$1" >> "$page"
    within "${@:2}" 2>&1
    local status=$?
    report_failure "$status"
    printf '```\n' >> "$page"
    return "$status"
}

# tables TITLE SECONDS COMMAND...: the same for a command that prints its own headings, without the standard error.
tables() {
    echo "=== $1, after $SECONDS s"
    echo >> "$page"
    within "${@:2}"
    report_failure "$?"
}

report_failure() {
    if [ "$1" -ne 0 ]; then
        echo "exit status $1 (124: out of time)" | tee -a "$page"
        failed=1
    fi
}

install() { "$python" -m pip install -q --no-index --no-deps --no-compile --no-cache-dir --target "$scratch/site" wheels/*.whl; }

: > "$page"
if [ -d wheels ]; then install || exit 1; fi
if [ -z "$dry" ]; then
    step "Machine" 20 nvidia-smi --query-gpu=name,driver_version,clocks.sm,clocks.mem,memory.total --format=csv,noheader
fi

# A broken kernel costs a minute, not the whole run.
step "Smoke" 120 "$python" -m gpu smoke || exit 2

# Other versions may give other warnings than the tests allow: here they are not errors.
options=(-q -n 6 -p no:cacheprovider --disable-warnings -o filterwarnings=default -o addopts=--import-mode=importlib)
segmentation=plugins/lossreg-segmentation/tests
tests=(
    "$segmentation/test_implementations.py::test_an_implementation_equals_the_reference[triton]"
    "$segmentation/test_implementations.py::test_a_tie_of_prediction_and_soft_target_shares_the_gradient[triton]"
    "$segmentation/test_triton_sigmoid.py"
    "$segmentation/test_one_function_device.py::test_dice_by_hand"
    "$segmentation/test_one_function_device.py::test_an_infinite_sum_is_no_part_of_other_terms"
    "$segmentation/test_one_function_device.py::test_masks_without_target_pixels"
    "$segmentation/test_one_function_device.py::test_predicted_numbers"
    "$segmentation/test_one_function_device.py::test_the_same_bits"
    "$segmentation/test_distance.py::test_the_map_of_a_target_on_a_gpu_is_there"
    "tests/health/test_monitor.py::test_nothing_blocks_on_cuda"
)
[ -z "$dry" ] || options+=(--collect-only)
step "Tests" 130 "$python" -m pytest "${options[@]}" "${tests[@]}"

step "Passes apart" 90 "$python" -m gpu kernels

losses=("$python" benchmarks/losses.py --device cuda)
[ -z "$dry" ] || losses=("$python" benchmarks/losses.py --only none)
tables "Losses" 200 "${losses[@]}"

# If there is time.
if [ -z "$dry" ] && [ "$(left)" -gt 60 ]; then
    tables "Small tensors by the wall clock" 50 "${losses[@]}" --quick --wall --only small
fi
if [ -z "$dry" ] && [ "$(left)" -gt 40 ] && command -v ncu > /dev/null; then
    step "Counters of the mask kernels" 40 ncu --clock-control none --profile-from-start off -k regex:sigmoid \
        --section SpeedOfLight --section Occupancy --section MemoryWorkloadAnalysis "$python" -m gpu once
fi

echo "=== done after $SECONDS s: $page"
exit "$failed"
