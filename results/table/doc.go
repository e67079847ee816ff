// Package table prints a summary for people: one table for each cell, for a
// terminal or as Markdown, and a paragraph that says which policy to choose.
// What is no plain text in a name is shown escaped, never sent to a terminal.
package table
