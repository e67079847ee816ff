// Package doctor examines what a hardware run stands on: the driver, the
// devices and who else uses them, what telemetry has, costs and how often it
// changes, the link, and the page cache. Executors add checks of their own. It
// only reads, but for a small file in the folder that it is given.
//
// A Report in JSON is:
//
//	{"schema": "vramsim/doctor/1",
//	 "status": "ok",                 // or warn, busy, missing
//	 "reasons": [],                  // the findings that make it so, one line each
//	 "needs": {"card": "required", "devices": [], "shared": false},
//	 "findings": [
//	  {"check": "driver",            // what was looked at
//	   "device": "",                 // UUID; empty for the machine
//	   "level": "ok",                // warn: runs suffer; fail: what is needed is not there
//	   "cause": "",                  // of a failure: missing or busy
//	   "found": "driver 580.00, CUDA 13.0, 1 device",
//	   "advice": ""}],               // what to do about it
//	 "devices": [
//	  {"info": {}, "memory": {}, "processes": [], "sample": {}, // as in package nvml; -1 is not told
//	   "capabilities": {"energy": {"present": true, "cost_ns": 12000, "period_ns": 20000000}}, // 0: not measured
//	   "link_under_load": null,      // or {"generation": 4, "width": 16}
//	   "context_bytes": -1}],        // memory of an empty context; -1: not measured
//	 "selftest": [
//	  {"step": "oom", "device": "", "level": "ok", "cause": "", "found": "…", "advice": "", "took_ns": 1}]}
//
// Keys are only ever added.
package doctor
