package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/vramsim/vramsim/sim/experiment"
)

func newInit(a *app) *cobra.Command {
	var names []string
	for _, t := range experiment.Templates() {
		names = append(names, t.Name)
	}
	var only string
	cmd := &cobra.Command{
		Use:   "init [DIR]",
		Short: "write the experiment templates, to be changed",
		Long:  "Write the experiments that come with vramsim into a folder: " + strings.Join(names, ", ") + ".\nFiles that are there already are left as they are, which is an error.",
		Args:  cobra.MaximumNArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			dir := "."
			if len(args) == 1 {
				dir = args[0]
			}
			return a.writeTemplates(dir, only, names)
		},
	}
	cmd.Flags().StringVar(&only, "template", "", "`name` of a single template")
	return cmd
}

func (a *app) writeTemplates(dir, only string, names []string) error {
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return err
	}
	found := false
	written := map[string]bool{} // templates may share a file
	for _, t := range experiment.Templates() {
		if only != "" && t.Name != only {
			continue
		}
		found = true
		for _, f := range t.Files {
			path := filepath.Join(dir, f.Name)
			if written[f.Name] {
				continue
			}
			written[f.Name] = true
			if err := writeNew(path, f.Data); err != nil {
				return err
			}
			fmt.Fprintf(a.stdout, "%s\n", path)
		}
	}
	if found {
		a.infof("run one: vramsim run FILE; those of recorded workloads say in their first lines where the traces come from and what to type")
	}
	if !found {
		return unknown("template", only, names)
	}
	return nil
}

// writeNew writes a file that must not be there yet.
func writeNew(path string, data []byte) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o666)
	if errors.Is(err, fs.ErrExist) {
		return withHint(fmt.Errorf("%s exists and is left as it is", path), "name another folder")
	}
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	return errors.Join(err, f.Close())
}
