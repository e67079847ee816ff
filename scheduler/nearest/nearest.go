// Package nearest finds the name that a mistyped one most probably stands for,
// for messages that end with "did you mean".
package nearest

import "strings"

// To returns the one of names that takes the fewest edits (insertions,
// deletions, replacements, swaps of neighbours) from word, whatever the case,
// "" if none is within a third of the word's length plus one and keeps
// something of it. A name that begins with the word, if that has two letters or
// more, is one edit away. Of equals the first wins.
func To(word string, names []string) string {
	word = strings.ToLower(word)
	best, limit := "", min(len(word)/3+2, len(word))
	for _, name := range names {
		lower := strings.ToLower(name)
		d := edits(word, lower)
		if strings.HasPrefix(lower, word) {
			d = min(d, 1)
		}
		if d < limit {
			best, limit = name, d
		}
	}
	return best
}

// edits is the optimal string alignment distance of bytes, row by row.
func edits(a, b string) int {
	two, one, row := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range one {
		one[j] = j
	}
	for i := 1; i <= len(a); i++ {
		row[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			row[j] = min(one[j]+1, row[j-1]+1, one[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], two[j-2]+1)
			}
		}
		two, one, row = one, row, two
	}
	return one[len(b)]
}
