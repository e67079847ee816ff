package main

import (
	"encoding/json"
	"os"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/vramsim/vramsim/nvml/binding"
	"github.com/vramsim/vramsim/nvml/doctor"
	"github.com/vramsim/vramsim/nvml/nvmltest"
)

// TestDoctorSelfTestOnFakes: with the processes, the kill and the bytes of the fake
// driver's ledger all real, every step passes and nothing is left.
func TestDoctorSelfTestOnFakes(t *testing.T) {
	if !binding.Linked {
		t.Skip("this build has no NVML in it: go test -tags nvml")
	}
	folder, ledger := t.TempDir(), t.TempDir()
	nvmlDir, cudaDir := fakeDriver(t)
	r := process(t, []string{nvmltest.LibraryPath(nvmlDir, cudaDir), "FAKE_GPU_LEDGER=" + ledger}, "gpu", "doctor", "--selftest", "--json", "--folder", folder)
	var report doctor.Report
	if err := json.Unmarshal([]byte(r.stdout), &report); err != nil || r.code != 0 {
		t.Fatalf("exit %d, %v\n%s%s", r.code, err, r.stdout, r.stderr)
	}
	for _, s := range report.SelfTest {
		if s.Level != doctor.OK {
			t.Errorf("%+v", s)
		}
	}
	if len(report.SelfTest) != 5 || !strings.Contains(report.SelfTest[3].Found, "it is listed as") || report.Devices[0].ContextBytes < 64<<20 || report.Devices[0].ContextBytes > 80<<20 {
		t.Errorf("%+v, %v", report.SelfTest, report.Devices[0].ContextBytes)
	}
	if left, err := os.ReadDir(folder); err != nil || len(left) > 0 {
		t.Errorf("left in the folder: %v, %v", left, err)
	}
	files, err := os.ReadDir(ledger)
	if err != nil || len(files) != 3 {
		t.Errorf("processes that used the device: %v, %v", files, err)
	}
	for _, f := range files {
		if pid, err := strconv.Atoi(f.Name()); err != nil || syscall.Kill(pid, 0) == nil {
			t.Errorf("process %s still lives", f.Name())
		}
	}
}
