#!/bin/sh
# What is linked into a program: each crate with its licence, and the texts of those licences, each once. Their notices
# have to go with a copy of the program. Needs no network: cargo has the sources of what it built.
#
#   packaging/licences.sh seinhuis-agent
set -eu
export LC_ALL=C
sources=${CARGO_HOME:-$HOME/.cargo}/registry/src
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

cargo tree --quiet --locked --offline -p "$1" -e normal,no-proc-macro --prefix none --format '{p}|{l}' |
	sed -n -e 's/ (\*)$//' -e 's/^\([^ ]*\) v\([^ |]*\)[^|]*|\(.*\)$/\1 \2 \3/p' | grep -v '^seinhuis-' | sort -u >"$work/crates"
printf 'Crates linked into %s, with their licences. Texts follow.\n\n' "$1"
cat "$work/crates"
while read -r name version _; do
	for text in "$sources"/*/"$name-$version"/LICEN[CS]E* "$sources"/*/"$name-$version"/COPYING* \
		"$sources"/*/"$name-$version"/COPYRIGHT* "$sources"/*/"$name-$version"/NOTICE*; do
		[ -f "$text" ] || continue
		sum=$(sha256sum <"$text" | cut -c 1-64)
		[ -f "$work/$sum" ] || cp "$text" "$work/$sum"
		printf '%s %s %s %s\n' "$sum" "$name" "$version" "$(basename "$text")" >>"$work/texts"
	done
done <"$work/crates"
cut -d ' ' -f 1 "$work/texts" | sort -u | while read -r sum; do
	printf '\n\n=== %s\n\n' "$(grep "^$sum " "$work/texts" | cut -d ' ' -f 2- | paste -s -d ';')"
	cat "$work/$sum"
done
