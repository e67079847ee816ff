// Package report writes what a run found as one page, report.html, and as
// report.md: the verdict first, then tables, charts, the resolved
// configuration and how to reproduce it.
//
// The page is one file that fetches nothing: its content policy forbids
// scripts and every address but the images inside the page. All text of the
// user goes through html/template, none of it into links.
package report
