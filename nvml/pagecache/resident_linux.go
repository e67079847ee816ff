package pagecache

import (
	"errors"
	"fmt"
	"os"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/vramsim/vramsim/scheduler"
)

// Resident tells how much of f is in the page cache.
func Resident(f *os.File) (Residency, error) {
	info, err := f.Stat()
	if err != nil {
		return Residency{}, err
	}
	r := Residency{Size: scheduler.Bytes(info.Size()), Method: Cachestat}
	if r.Size == 0 {
		return r, nil
	}
	pages, err := cached(f)
	if errors.Is(err, unix.ENOSYS) || errors.Is(err, unix.EPERM) || errors.Is(err, unix.EOPNOTSUPP) {
		r.Method = Mincore
		pages, err = mapped(f, info.Size())
	}
	if err != nil {
		return Residency{}, fmt.Errorf("%w: %s: %v", ErrUnsupported, r.Method, err)
	}
	r.Resident = min(r.Size, scheduler.Bytes(pages)*scheduler.Bytes(os.Getpagesize()))
	return r, nil
}

// cached counts the pages by cachestat.
func cached(f *os.File) (uint64, error) {
	var stat unix.Cachestat_t
	err := unix.Cachestat(uint(f.Fd()), &unix.CachestatRange{}, &stat, 0)
	return stat.Cache, err
}

// mapped counts the pages by mincore.
func mapped(f *os.File, size int64) (pages uint64, err error) {
	if int64(int(size)) != size {
		return 0, unix.EFBIG
	}
	m, err := unix.Mmap(int(f.Fd()), 0, int(size), unix.PROT_READ, unix.MAP_SHARED)
	if err != nil {
		return 0, err
	}
	defer unix.Munmap(m)
	page := os.Getpagesize()
	there := make([]byte, (len(m)+page-1)/page)
	if _, _, code := unix.Syscall(unix.SYS_MINCORE, uintptr(unsafe.Pointer(&m[0])), uintptr(len(m)), uintptr(unsafe.Pointer(&there[0]))); code != 0 {
		return 0, code
	}
	for _, b := range there {
		pages += uint64(b & 1)
	}
	return pages, nil
}

// Drop writes what of f is not on disk yet and asks the system to let the
// file's pages go. Resident tells whether it did.
func Drop(f *os.File) error {
	if err := f.Sync(); err != nil {
		return err
	}
	if err := unix.Fadvise(int(f.Fd()), 0, 0, unix.FADV_DONTNEED); err != nil {
		return fmt.Errorf("%w: posix_fadvise: %v", ErrUnsupported, err)
	}
	return nil
}
