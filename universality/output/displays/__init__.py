"""Pictures written as SVG by hand: one text is the page's and, with its colours written out, a file's."""
