//go:build !linux

package worker_test

// group cannot tell elsewhere who is in a group.
func group(int) []int { return nil }

const victimArgument = "victim"

func victim([]string) int { return 1 }
