package importers

import (
	"cmp"
	"crypto/sha256"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

type named struct{ name, path string }

// filesOf returns the files of a folder sorted by name, without those named
// ._*, or that path is none.
func filesOf(path string) (files []named, folder bool, err error) {
	info, err := os.Stat(path)
	if err != nil || !info.IsDir() {
		return nil, false, err
	}
	err = filepath.WalkDir(path, func(name string, entry fs.DirEntry, err error) error {
		if err != nil || !entry.Type().IsRegular() || strings.HasPrefix(entry.Name(), "._") {
			return err
		}
		relative, err := filepath.Rel(path, name)
		files = append(files, named{filepath.ToSlash(relative), name})
		return err
	})
	slices.SortFunc(files, func(a, b named) int { return cmp.Compare(a.name, b.name) })
	return files, true, err
}

func fileDigest(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	hash := sha256.New()
	if _, err := io.Copy(hash, f); err != nil {
		return "", err
	}
	return fmt.Sprintf("%x", hash.Sum(nil)), nil
}
