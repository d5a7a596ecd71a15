#!/bin/sh
# Builds the Debian packages of broker, agent and certs from programs that are built already. The same programs, version
# and SOURCE_DATE_EPOCH give the same packages, byte for byte.
#
#   cargo build --release -p seinhuis-broker -p seinhuis-agent -p seinhuis-certs
#   packaging/deb.sh --bin target/release --out target/packages
#
# Needs dpkg-dev and binutils. What is packed runs on this Debian release and later ones: build on the oldest in use.
set -eu
umask 022
export LC_ALL=C
here=$(cd "$(dirname "$0")" && pwd)
tree=$(dirname "$here")

usage() {
	echo "usage: deb.sh --bin DIR --out DIR [--version VERSION] [--licences DIR] [--quick] [PACKAGE...]" >&2
	echo "  --licences DIR   take DIR/PACKAGE.txt instead of asking cargo (licences.sh)" >&2
	echo "  --quick          hardly compressed" >&2
	exit 2
}

bin= out= version= licences= compression=-Zxz
while [ $# -gt 0 ]; do
	case $1 in
	--bin | --out | --version | --licences)
		[ $# -gt 1 ] || usage
		eval "${1#--}=\$2"
		shift 2
		;;
	--quick) compression='-Zgzip -z1' && shift ;;
	-*) usage ;;
	*) break ;;
	esac
done
[ -n "$bin" ] && [ -n "$out" ] || usage
[ $# -gt 0 ] || set -- seinhuis-broker seinhuis-agent seinhuis-certs

# The version of the workspace; of a commit that carries no tag of it, a version before that one which rises with time.
if [ -z "${SOURCE_DATE_EPOCH:-}" ]; then
	SOURCE_DATE_EPOCH=$(git -C "$tree" log -1 --format=%ct)
fi
export SOURCE_DATE_EPOCH
if [ -z "$version" ]; then
	version=$(sed -n 's/^version = "\(.*\)"$/\1/p' "$tree/Cargo.toml" | head -n 1)
	if [ -z "$(git -C "$tree" tag --points-at HEAD --list "v$version")" ]; then
		stamp=$(date -u -d "@$SOURCE_DATE_EPOCH" +%Y%m%d%H%M%S)
		version=$version~git$stamp.$(git -C "$tree" rev-parse --short=8 HEAD)
	fi
fi

mkdir -p "$out"
out=$(cd "$out" && pwd)
bin=$(cd "$bin" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# put MODE SOURCE PATH: a file of the package.
put() {
	install -D -m "$1" "$2" "$root$3"
}

# The unit with its confinement, and the user and folder it is for.
service() {
	mkdir -p "$root/usr/lib/systemd/system"
	for unit in "$here/systemd/$1".service "$here/systemd/$1"@.service; do
		[ -f "$unit" ] || continue
		{ cat "$unit" && echo && cat "$here/systemd/hardening.conf"; } \
			>"$root/usr/lib/systemd/system/$(basename "$unit")"
	done
	put 644 "$here/systemd/$1.sysusers" "/usr/lib/sysusers.d/$1.conf"
	put 644 "$here/systemd/$1.tmpfiles" "/usr/lib/tmpfiles.d/$1.conf"
	for one in "$here/systemd/examples"/*; do
		put 644 "$one" "$doc/examples/systemd/$(basename "$one")"
	done
	for script in postinst prerm postrm; do
		sed "s/@PACKAGE@/$1/g" "$here/debian/$script" >"$root/DEBIAN/$script"
		chmod 755 "$root/DEBIAN/$script"
	done
}

documents() {
	put 644 "$tree/README.md" "$doc/README.md"
	for one in "$tree"/docs/*.md; do put 644 "$one" "$doc/docs/$(basename "$one")"; done
	# Whole, with its folders: the model names its schemas by path.
	mkdir -p "$root$doc/examples"
	cp -r "$tree/covenants" "$root$doc/examples/covenants"
	find "$root$doc/examples" -type d -exec chmod 755 {} + -o -type f -exec chmod 644 {} +
	folder=$tree/${1#seinhuis-}/samples
	[ ! -d "$folder" ] || for one in "$folder"/*.toml; do
		put 644 "$one" "$doc/examples/$(basename "$one")"
	done
	[ "$1" != seinhuis-broker ] || for one in "$tree"/monitoring/*; do
		put 644 "$one" "$doc/examples/monitoring/$(basename "$one")"
	done
	{
		echo 'Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/'
		echo 'Upstream-Name: Seinhuis'
		echo 'Comment: What is linked into the program besides is in third-party.txt, with its licences.'
		echo
		echo 'Files: *'
		echo 'Copyright: the contributors to Seinhuis'
		echo 'License: EUPL-1.2'
		sed -e 's/^/ /' -e 's/^[[:space:]]*$/ ./' "$tree/LICENSE"
	} >"$root$doc/copyright"
	gzip -9n <"$tree/CHANGELOG.md" >"$root$doc/changelog.gz"
	printf '%s (%s) unstable; urgency=medium\n\n  * See changelog.gz.\n\n -- %s  %s\n' "$1" "$version-1" \
		"$maintainer" "$(date -u -R -d "@$SOURCE_DATE_EPOCH")" | gzip -9n >"$root$doc/changelog.Debian.gz"
	if [ -n "$licences" ]; then
		cp "$licences/$1.txt" "$root$doc/third-party.txt"
	else
		(cd "$tree" && "$here/licences.sh" "$1") >"$root$doc/third-party.txt"
	fi
	gzip -9n "$root$doc/third-party.txt"
}

describe() {
	case $1 in
	seinhuis-broker)
		echo 'Description: carries sealed signals between partners under their covenant'
		echo ' Takes in sealed packets, holds each against the covenant, records every outcome'
		echo ' in a log that can be proved, and delivers. It cannot read what it carries.'
		;;
	seinhuis-agent)
		echo 'Description: sends and receives sealed signals for one partner'
		echo ' Seals, sends, receives, checks and opens what partners tell each other under a'
		echo ' covenant, through a broker that cannot read it.'
		;;
	seinhuis-certs)
		echo 'Description: certificates of a partnership that shares sealed signals'
		echo ' Keeps the certificate authority of a partnership: issues, renews and revokes'
		echo ' the certificates of broker and agents.'
		;;
	*) usage ;;
	esac
}

# Which packages with which versions bring what the program is linked with.
needs() {
	mkdir -p "$work/debian"
	printf 'Source: seinhuis\n\nPackage: %s\nArchitecture: any\n' "$1" >"$work/debian/control"
	(cd "$work" && dpkg-shlibdeps -O -e"$root/usr/bin/$1") | sed -n 's/^shlibs:Depends=//p'
}

maintainer="${DEBFULLNAME:-Seinhuis} <${DEBEMAIL:-seinhuis@example.org}>"
architecture=$(dpkg --print-architecture)
for package; do
	root=$work/$package
	doc=/usr/share/doc/$package
	mkdir -p "$root/DEBIAN" "$root/usr/bin" "$root$doc"
	strip --strip-unneeded -o "$root/usr/bin/$package" "$bin/$package"
	chmod 755 "$root/usr/bin/$package"
	documents "$package"
	depends=$(needs "$package")
	if [ -f "$here/systemd/$package.service" ]; then
		service "$package"
		depends="$depends, systemd | systemd-standalone-sysusers, systemd | systemd-standalone-tmpfiles"
	fi
	{
		echo "Package: $package"
		echo "Version: $version-1"
		echo "Architecture: $architecture"
		echo "Maintainer: $maintainer"
		echo "Section: net"
		echo "Priority: optional"
		echo "Installed-Size: $(du -k -s --apparent-size "$root" | cut -f 1)"
		echo "Depends: $depends"
		describe "$package"
	} >"$root/DEBIAN/control"
	(cd "$root" && find usr -type f -print0 | sort -z | xargs -0 md5sum) >"$root/DEBIAN/md5sums"
	# shellcheck disable=SC2086 # one word for each option
	dpkg-deb --root-owner-group $compression --build "$root" "$out/${package}_$version-1_$architecture.deb"
done
