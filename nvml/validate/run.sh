#!/usr/bin/env bash
# The ten-minute validation of hardware mode on a machine with one NVIDIA card:
#
#     nvml/validate/run.sh OUT
#
# It works offline and needs only the binaries in build/ (README, "On your own
# GPU") and, for the stages with real models, a Python with torch and
# transformers; what is absent is skipped and said so. No setting of the card is
# changed. OUT gets a handful of files: stages.jsonl (what ran, and how it
# ended), doctor.json, profile.yaml, fidelity.json, sampling.json (what telemetry
# costs: a cell with it and without, compared), energy.yaml, selftest.json,
# runs.tgz (the run directories), log.txt.
#
# For a rehearsal: VRAMSIM and VRAMSIM_GPU name other binaries, VRAMSIM_WORKER
# another worker's command, VRAMSIM_EXPERIMENTS a folder of other experiments.
set -u
if [ $# -ne 1 ]; then
	echo "usage: nvml/validate/run.sh OUT" >&2
	exit 2
fi
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
portable=${VRAMSIM:-$root/build/vramsim}
gpu=${VRAMSIM_GPU:-$root/build/vramsim-gpu}
experiments=${VRAMSIM_EXPERIMENTS:-$here}
[ -x "$gpu" ] || gpu=$portable # it then says which build is missing
if [ ! -x "$gpu" ]; then
	echo "there is no $gpu: see README, \"On your own GPU\"" >&2
	exit 2
fi
mkdir -p "$1" && out=$(cd "$1" && pwd) || exit 2
if [ -n "$(ls -A "$out")" ]; then
	echo "$out is not empty" >&2
	exit 2
fi
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
set -m # stages are groups of their own, to which Ctrl-C is passed on
interrupted= running=
trap 'interrupted=1; [ -z "$running" ] || kill -INT "$running"' INT TERM
cd "$scratch" || exit 2
mkdir weights runs sampler

# note STAGE STATUS EXIT SECONDS CAP adds a line to stages.jsonl at once.
note() {
	printf '{"stage":"%s","status":"%s","exit":%d,"seconds":%d,"cap_seconds":%d}\n' "$@" >>"$out/stages.jsonl"
	printf '%-10s %s (exit %d, %d s)\n' "$1" "$2" "$3" "$4"
}

# stage NAME CAP COMMAND... runs a command, at most CAP seconds: then Ctrl-C,
# and ten seconds later the end. What it has left until then stays.
stage() {
	local name=$1 cap=$2 began=$SECONDS status=ok code
	shift 2
	printf '\n== %s: %s\n' "$name" "$*" >>"$out/log.txt"
	export -f "$1" 2>/dev/null
	timeout --signal=INT --kill-after=10 "$cap" bash -c '"$@"' stage "$@" >>"$out/log.txt" 2>&1 &
	running=$!
	wait "$running"
	code=$?
	while kill -0 "$running" 2>/dev/null; do # the wait was interrupted
		wait "$running"
		code=$?
	done
	running=
	case $code in
	0) ;;
	124 | 130 | 137) status=partial ;;
	3) status=missed ;; # a target of fidelity
	5) status=invalid ;;
	6) status=skipped ;;
	*) status=failed ;;
	esac
	note "$name" "$status" "$code" $((SECONDS - began)) "$cap"
	if [ -n "$interrupted" ]; then
		collect
		exit 130
	fi
	return "$code"
}

doctor() { "$gpu" gpu doctor --json --executor cuda >"$out/doctor.json"; }

link() { "$gpu" calibrate --executor cuda --weights weights --stages link --budget 30s -o link.yaml "$experiments/cuda-steady.yaml"; }

# prepare writes the traces that every run replays and the weights of the models.
prepare() {
	local name
	for name in cuda-steady cuda-bursts torch-steady torch-bursts; do
		"$gpu" gen "$experiments/$name.yaml" -o "$name.jsonl" || return
	done
	[ -z "$worker" ] || "$gpu" gpu run "$experiments/torch-steady.yaml" --executor worker --worker "$worker" --weights weights \
		--set "workload={trace: {file: torch-steady.jsonl, limit: 1}}" --policy seed --replicates 1 -o prepared
}

# models measures the real models or, without any, the synthetic ones.
models() {
	if [ -n "$worker" ]; then
		"$gpu" calibrate --executor worker --worker "$worker" --weights weights --stages models --budget 95s -o profile.yaml "$experiments/torch-steady.yaml"
	else
		"$gpu" calibrate --executor cuda --weights weights --stages models --budget 95s -o profile.yaml "$experiments/cuda-steady.yaml"
	fi
}

# worse CODE keeps the worst of a stage's exit codes in worst: late hosts and
# missed targets (5, 3) never hide anything worse.
worse() { case $1 in 0) ;; 3 | 5) [ "$worst" -ne 0 ] || worst=$1 ;; *) worst=$1 ;; esac; }

# both NAME... runs a steady and a bursty experiment and compares each with its
# simulation.
both() {
	local kind=$1 name dir worst=0
	shift
	for name in "$kind-steady" "$kind-bursts"; do
		"$gpu" gpu run "$experiments/$name.yaml" "$@" --set "workload={trace: $name.jsonl}" -o runs
		worse $?
		dir=runs/$name/latest
		[ -e "$dir/manifest.json" ] || continue
		"$gpu" fidelity "$dir/simulation" "$dir" --format json >"$name.fidelity.json"
		worse $?
	done
	return "$worst"
}

synthetic() { both cuda --executor cuda --work spin --weights weights; }

# sampler repeats a cell with telemetry off, and compares: the same trace and
# seeds, so that replicates are paired.
sampler() {
	local worst=0
	repeat() {
		"$gpu" gpu run "$experiments/cuda-steady.yaml" --executor cuda --work spin --weights weights --policy seed --set "workload={trace: cuda-steady.jsonl}" \
			--sampling "$2" -o "sampler/$1"
		worse $?
		ln -sfn "sampler/$1/cuda-steady/latest" "$1" # by which the comparison names it
	}
	repeat off 0
	repeat on 100ms
	[ -e on/summary.json ] && [ -e off/summary.json ] || return "$worst"
	"$gpu" compare off on # for log.txt
	"$gpu" compare off on --format json >"$out/sampling.json"
	worse $?
	return "$worst"
}

real() { both torch --executor worker --worker "$worker" --weights weights --set "hardware.profile=profile.yaml"; }

energy() { "$gpu" calibrate --executor cuda --weights weights --stages energy --budget 75s -o "$out/energy.yaml" "$experiments/cuda-energy.yaml"; }

selftest() { "$gpu" gpu doctor --json --selftest --executor cuda >"$out/selftest.json"; }

# collect packs what was found.
collect() {
	local file sep=
	{
		printf '['
		for file in *.fidelity.json; do
			[ -s "$file" ] || continue
			printf '%s\n' "$sep"
			cat "$file"
			sep=,
		done
		printf ']\n'
	} >"$out/fidelity.json"
	for file in link.yaml profile.yaml; do
		[ ! -s "$file" ] || cp "$file" "$out/$file"
	done
	tar -czf "$out/runs.tgz" runs sampler $(ls ./*.jsonl profile.yaml 2>/dev/null) # with what replays need
}

# The worker: the reference one if its libraries are there.
worker=${VRAMSIM_WORKER:-}
if [ -z "$worker" ]; then
	cp "$root/nvml/worker/torch/worker.py" . 2>/dev/null
	if python3 -c 'import torch, transformers, sys; sys.exit(not torch.cuda.is_available())' 2>>"$out/log.txt"; then
		worker="python3 $scratch/worker.py"
	fi
fi
export gpu experiments out scratch worker
export -f both worse

{
	"$gpu" version
	uname -srm
	date -u +%Y-%m-%dT%H:%M:%SZ
	python3 -c 'import torch, transformers; print("torch", torch.__version__, "transformers", transformers.__version__)' 2>&1 | tail -1
} >>"$out/log.txt" 2>&1

refused=0
stage doctor 20 doctor || refused=$?
if [ "$refused" -ne 0 ]; then
	echo "the doctor refuses this machine; the other stages are left out" | tee -a "$out/log.txt"
	for name in link prepare models cuda sampler torch energy selftest; do
		note "$name" skipped "$refused" 0 0
	done
	collect
	exit "$refused"
fi
stage link 45 link
stage prepare 60 prepare
stage models 120 models
stage cuda 60 synthetic
stage sampler 20 sampler
if [ -n "$worker" ]; then
	stage torch 170 real
else
	note torch skipped 6 0 170
fi
stage energy 90 energy
stage selftest 10 selftest
collect
! grep -q '"status":"failed"' "$out/stages.jsonl"
